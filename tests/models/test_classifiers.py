import pytest
import torch

from models.classifiers import HeadClassifier, ImageNetClassifier
from models.imagenet import imagenet_mapping
from models.router import Router
from models.vgg import VggTrunk
from training.networks.torchvision_compat import vgg

LABELS = vgg.VGG16_Weights.IMAGENET1K_V1.meta["categories"]


def labels(**probabilities: float) -> torch.Tensor:
    """Probabilities `(1, 1000)` of the named ImageNet labels."""
    found = torch.zeros(1, 1000)
    for name, p in probabilities.items():
        found[0, LABELS.index(name.replace("_", " "))] = p
    return found


def build(mapping: str, score: str) -> ImageNetClassifier:
    """A classifier with arbitrary weights: these tests map given probabilities, and initializing 120 million weights is slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Linear, "reset_parameters", lambda _: None)
        return ImageNetClassifier(mapping, score).eval()


def test_head_classifier_returns_probabilities_with_unmapped_last() -> None:
    trunk = VggTrunk().eval()
    head = HeadClassifier(trunk.channels, ["cat", "dog"], temperature=2.0).eval()
    with torch.inference_mode():
        taps = trunk(torch.rand(3, 1, 64, 64) * 100)
        probabilities = head(taps)
        assert torch.allclose(probabilities, (head.logits(taps) / 2).softmax(dim=1))
    assert probabilities.shape == (3, 3)


@pytest.mark.parametrize("mapping", ["everyday", "animal-person-vehicle"])
def test_mapping_covers_all_imagenet_labels(mapping: str) -> None:
    found = imagenet_mapping(mapping)
    assert len(found) == 1000
    assert found[LABELS.index("zebra")] == "animal"
    assert found[LABELS.index("abacus")] is None


def test_category_probability_is_sum_of_its_labels() -> None:
    by_sum = build("everyday", "sum")
    probabilities = by_sum.map_labels(labels(pug=0.3, beagle=0.25, tabby=0.1, abacus=0.35))[0]
    found = dict(zip(by_sum.categories, probabilities.tolist(), strict=False))
    assert found["dog"] == pytest.approx(0.55)
    assert found["cat"] == pytest.approx(0.1)
    assert float(probabilities[-1]) == pytest.approx(0.35)


def test_routing_rule_of_paper_004_can_be_configured() -> None:
    classifier = build("animal-person-vehicle", "max")
    router = Router(classifier.categories, "person", 0.05)
    assert router.choices == ("animal", "person", "vehicle")
    several_animals = labels(pug=0.2, beagle=0.2, tabby=0.2, minivan=0.3)
    assert router.route(classifier.map_labels(several_animals)[0]).category == "vehicle"
    nothing = router.route(classifier.map_labels(labels(abacus=0.9, pug=0.049, minivan=0.02))[0])
    assert (nothing.category, nothing.fell_back, nothing.reason) == ("person", True, "below_threshold")


def test_torchvision_classifier_weights_fit() -> None:
    with torch.device("meta"):
        torchvision_shapes = vgg.vgg16(init_weights=False).state_dict()
        ours = ImageNetClassifier().state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in torchvision_shapes.items() if name.startswith("classifier.")
    }


def test_unknown_mapping_and_score_are_rejected() -> None:
    with pytest.raises(ValueError, match="everyday, animal-person-vehicle"):
        imagenet_mapping("plants")
    with pytest.raises(ValueError, match="sum or max"):
        ImageNetClassifier(score="mean")
