import pytest
import torch

from models.errors import OptionError
from models.router import Router


@pytest.fixture
def router() -> Router:
    return Router(("beach", "cat", "dog"), fallback="general", threshold=0.4)


def test_confident_picture_is_routed_to_its_category(router: Router) -> None:
    route = router.route(torch.tensor([0.1, 0.7, 0.1, 0.1]))
    assert (route.category, route.fell_back, route.reason) == ("cat", False, "confident")
    assert route.confidence == pytest.approx(0.7)
    assert route.weights == {"cat": 1.0}
    assert route.top[0] == ("cat", pytest.approx(0.7))


def test_picture_below_threshold_falls_back(router: Router) -> None:
    route = router.route(torch.tensor([0.3, 0.39, 0.3, 0.01]))
    assert (route.category, route.fell_back, route.reason) == ("general", True, "below_threshold")
    assert route.confidence == pytest.approx(0.39)
    assert route.top[0][0] == "cat"


def test_unmapped_picture_falls_back_at_any_threshold(router: Router) -> None:
    route = router.route(torch.tensor([0.1, 0.2, 0.1, 0.6]), threshold=0.0)
    assert (route.category, route.fell_back, route.reason) == ("general", True, "unmapped")
    assert route.confidence == pytest.approx(0.6)


def test_threshold_can_be_given_and_is_reported(router: Router) -> None:
    probabilities = torch.tensor([0.3, 0.39, 0.3, 0.01])
    assert router.route(probabilities, threshold=0.38).category == "cat"
    assert router.route(probabilities, threshold=0.9).threshold == 0.9
    with pytest.raises(OptionError, match=r"threshold is 1.1.*0 to 1"):
        router.route(probabilities, threshold=1.1)


def test_requested_category_is_used_with_its_probability(router: Router) -> None:
    route = router.route(torch.tensor([0.1, 0.7, 0.15, 0.05]), category="dog")
    assert (route.category, route.fell_back, route.reason) == ("dog", False, "requested")
    assert route.confidence == pytest.approx(0.15)
    assert router.route(torch.tensor([0.1, 0.7, 0.15, 0.05]), category="general").weights == {"general": 1.0}


def test_unknown_category_is_rejected_with_valid_categories(router: Router) -> None:
    with pytest.raises(OptionError, match="'car'.*auto, beach, cat, dog, general"):
        router.route(torch.tensor([0.1, 0.7, 0.1, 0.1]), category="car")


def test_category_unknown_to_classifier_can_be_requested() -> None:
    router = Router(("beach", "cat"), "general", 0.4, others=("sunset",))
    route = router.route(torch.tensor([0.5, 0.3, 0.2]), category="sunset")
    assert (route.category, route.confidence, route.reason) == ("sunset", 0.0, "requested")
    assert "sunset" in router.choices


def test_soft_route_weights_by_probability_and_gives_rest_to_fallback() -> None:
    router = Router(("a", "b", "c", "d"), "general", 0.4)
    weights = router.route(torch.tensor([0.4, 0.3, 0.1, 0.05, 0.15]), soft=True).weights
    assert weights == pytest.approx({"a": 0.4, "b": 0.3, "c": 0.1, "general": 0.2})


def test_soft_weights_sum_to_one_if_fallback_is_a_category() -> None:
    router = Router(("animal", "person", "vehicle"), "person", 0.05)
    weights = router.route(torch.tensor([0.6, 0.3, 0.5, 0.0]), soft=True).weights
    assert sum(weights.values()) == pytest.approx(1.0)
    assert min(weights.values()) >= 0
    assert weights["animal"] > weights["vehicle"]
