"""Time for companions where a head is trained on them."""

from dataclasses import replace

from equiview.finetune.adapt import affordable_companions
from equiview.finetune.recipes import get_recipe


def test_training_keeps_half_of_the_time():
    recipe = get_recipe("default")
    solve = replace(recipe, kind="closed_form", closed_form=get_recipe("wiener").closed_form)
    # 60 ordinary pictures and 12 views of the object take 72 s; a companion 14 s.
    costs = {"map_s": 1.0, "render_s": 2.0, "views": 12}
    assert len(affordable_companions(solve, 72 + 3 * 14, **costs)) == 3
    assert len(affordable_companions(recipe, 2 * (72 + 3 * 14), **costs)) == 3
    assert affordable_companions(recipe, 72 + 3 * 14, **costs) == []
