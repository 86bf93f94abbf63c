"""A budget becomes a plan once: what a short time leaves out, that it is said, and that the rest is used."""

import json
import logging
import time
from dataclasses import replace

import pytest

from equiview.data.synthetic.category_instances import CATEGORIES
from equiview.finetune import costs as costs_module
from equiview.finetune.closed_form import ClosedFormConfig
from equiview.finetune.costs import RENDER_S, Costs, coarse, measure_costs
from equiview.finetune.head_training import HeadTraining
from equiview.finetune.network_settings import NetworkTraining
from equiview.finetune.overrides import override
from equiview.finetune.plan import EARLIER_SHARE, make_plan, plan_record, plan_words, takes_budget, with_plan
from equiview.finetune.recipes import RECIPES, features_learned_on, get_recipe
from equiview.finetune.stages import STAGES
from equiview.finetune.stages.head_training import FEW_IMAGES, FEW_STEPS
from equiview.finetune.unlabeled_images import IMAGES
from finetune.tiny import objects, recipe, tiny_backbone

DEFAULT = get_recipe("default")
COSTS = Costs(map_s=1.0, product_s=0.01, views=12, own_views=12)
OWN_S = 12 * RENDER_S


def views_of_objects():
    return [view for of_object in objects().values() for view in of_object]


def seconds(plan) -> float:
    """The time of a whole plan, the rendering of the user's own views included."""
    return OWN_S + sum(STAGES[s.stage].seconds(s, plan, COSTS) for s in plan.stages)


def by_hand(training: HeadTraining, auxiliary: int) -> float:
    """Seconds of what `default` does, counted one by one; a step is 9 products of a thousand tokens and a few."""
    pictures = 12 * 1.0 + training.pictures * 1.0 + training.instances * len(CATEGORIES) * 1.5 + auxiliary * 12 * 1.5
    tokens = 4 * (2 * 128 + 400) + 600
    return OWN_S + pictures + training.steps * 6 * tokens / 1000 * 0.01


def test_the_time_of_default_is_the_sum_of_its_parts():
    assert seconds(DEFAULT) == pytest.approx(by_hand(DEFAULT.stage(HeadTraining), 8))


@pytest.mark.parametrize("name", [name for name in RECIPES if takes_budget(RECIPES[name])])
def test_with_time_enough_a_plan_is_the_recipe(name):
    assert make_plan(RECIPES[name], COSTS, 1e6) == RECIPES[name]


@pytest.mark.parametrize("name", [name for name in RECIPES if takes_budget(RECIPES[name])])
def test_a_plan_fits_its_budget_and_grows_with_it(name):
    """From the least that is done in any case (own views, a few images and steps) on."""
    least = make_plan(RECIPES[name], COSTS, 0.0)
    before = least
    for budget_s in (100.0, 200.0, 400.0, 800.0, 1600.0):
        plan = make_plan(RECIPES[name], COSTS, budget_s)
        assert seconds(plan) <= max(budget_s, seconds(least))
        for smaller, larger in zip(before.stages, plan.stages, strict=True):
            for count in STAGES[larger.stage].counts:
                assert getattr(smaller, count) <= getattr(larger, count)
        assert plan.auxiliary_objects[: len(before.auxiliary_objects)] == before.auxiliary_objects
        before = plan
    assert name == "wiener" or seconds(least) < seconds(before)  # It has nothing to leave out.


def test_a_closed_form_leaves_out_auxiliary_objects():
    solve = replace(get_recipe("wiener"), auxiliary_objects=DEFAULT.auxiliary_objects)
    # 60 unlabeled images and 12 views of the object take 72 s; an auxiliary object 18 s.
    fixed_s = OWN_S + IMAGES + 12
    assert len(make_plan(solve, COSTS, fixed_s + 3 * 18).auxiliary_objects) == 3
    assert len(make_plan(solve, COSTS, fixed_s + 3 * 18 - 0.1).auxiliary_objects) == 2
    assert make_plan(solve, COSTS, 0).auxiliary_objects == ()


def test_a_trained_head_keeps_half_of_the_time_and_all_else_shrinks_alike(caplog):
    training = DEFAULT.stage(HeadTraining)
    others_s = by_hand(training, 8) - by_hand(replace(training, pictures=1, instances=0), 0) + 1
    with caplog.at_level(logging.WARNING):
        half = make_plan(DEFAULT, COSTS, OWN_S + 2 * (12 + others_s / 2) + 1e-6)
    kept = half.stage(HeadTraining)
    assert (len(half.auxiliary_objects), kept.instances, kept.pictures) == (4, training.instances // 2, 30)
    assert kept.steps == training.steps and half.auxiliary_objects == DEFAULT.auxiliary_objects[:4]
    assert "4 of 8 auxiliary objects" in caplog.text and "Raise time_budget_s" in caplog.text


def test_a_slow_product_leaves_out_steps_of_the_head():
    slow = replace(COSTS, product_s=1.0)
    step_s = 6 * (4 * (2 * 128 + 400) + 600) / 1000
    plan = make_plan(DEFAULT, slow, OWN_S + 2 * 40.5 * step_s)
    assert plan.stage(HeadTraining).steps == 40


def test_a_network_below_the_head_has_its_share_before_all_else(caplog):
    joined = get_recipe("lora-and-head")
    # A step is 6 maps of pictures of half the side: 1.5 s.
    plan = make_plan(joined, COSTS, OWN_S + 100 * 1.5 / EARLIER_SHARE + 1e-6)
    assert plan.stage(NetworkTraining).steps == 100
    assert "100 of 200 steps of training the network" in caplog.text and "take default" in caplog.text
    alone = make_plan(get_recipe("lora-only"), COSTS, OWN_S + 30 * 6 + 1e-6)
    assert alone.stage(NetworkTraining).steps == 30


@pytest.mark.parametrize("budget_s", [0.0, 10.0, 40.0])
def test_no_time_leaves_the_object_a_few_images_and_steps(budget_s):
    plan = make_plan(DEFAULT, replace(COSTS, product_s=10.0), budget_s)
    least = plan.stage(HeadTraining)
    assert plan.auxiliary_objects == () and least.instances == 0
    assert (least.pictures, least.steps) == (FEW_IMAGES, FEW_STEPS)


def test_a_plan_is_kept_and_read_and_said_as_settings():
    plan = make_plan(get_recipe("lora-and-head"), COSTS, 600.0)
    assert plan != get_recipe("lora-and-head")
    record = json.loads(json.dumps(plan_record(plan, 600.0, COSTS)))
    assert with_plan(get_recipe("lora-and-head"), record) == plan
    words = dict(item.split("=") for item in plan_words(plan).removeprefix("--set ").split(" "))
    assert override(get_recipe("lora-and-head"), words) == replace(plan, time_budget_s=None)


def test_what_an_earlier_version_decided_still_holds():
    former = {"companions": ["procedural:9001"], "members": 5, "pictures": 20}
    plan = with_plan(DEFAULT, former)
    assert plan.auxiliary_objects == ("procedural:9001",)
    assert plan.stage(HeadTraining) == replace(DEFAULT.stage(HeadTraining), instances=5, pictures=20)
    assert with_plan(get_recipe("wiener"), {"companions": []}) == get_recipe("wiener")


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, 1.0), (0.8, 1.0), (1.3, 1.0), (1.5, 2.0), (0.12, 0.125)])
def test_speeds_are_powers_of_two(seconds, expected):
    assert coarse(seconds) == expected


def test_a_busy_moment_makes_no_other_plan(monkeypatch):
    """Whatever takes the processor for one of the measured pieces, the costs are the same."""
    extractor = features_learned_on(tiny_backbone(), recipe(ClosedFormConfig(), network=False))
    plain, busy = [], []
    for found, slow in ((plain, None), (busy, 5), (busy, 11)):
        clock = iter(n + (n >= (slow or 10**9)) * 40 for n in range(1000))
        monkeypatch.setattr(costs_module.time, "perf_counter", lambda clock=clock: 0.25 * next(clock))
        found.append(measure_costs(extractor, views_of_objects(), 12))
    assert set(busy) == set(plain)
    assert plain[0] == Costs(0.25, 0.25, 12, 6)


@pytest.mark.parametrize("name", ["default", "general"])
def test_without_an_object_of_ones_own_something_is_left_to_learn_from(name):
    alone = replace(COSTS, own_views=0)
    assert len(make_plan(RECIPES[name], alone, 0.0).auxiliary_objects) == 1
    closed = replace(get_recipe("wiener"), auxiliary_objects=DEFAULT.auxiliary_objects)
    assert len(make_plan(closed, alone, 0.0).auxiliary_objects) == 1
    assert measure_costs(features_learned_on(tiny_backbone(), recipe()), [], 12).own_views == 0


def test_costs_are_measured_on_this_machine():
    started = time.perf_counter()
    found = measure_costs(features_learned_on(tiny_backbone(), recipe()), views_of_objects(), 12)
    assert 0 < found.map_s < 2 * (time.perf_counter() - started) and found.product_s > 0


def test_one_step_takes_no_budget():
    assert {name for name in RECIPES if not takes_budget(RECIPES[name])} == {"one-step"}
    assert make_plan(get_recipe("one-step"), COSTS, 0.0) == get_recipe("one-step")
