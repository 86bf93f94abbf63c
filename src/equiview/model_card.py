"""The model card of a repository on the Hugging Face hub: what its README.md says of an adapter or an export."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .hub import hub_name

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

Library = Literal["equiview", "transformers", "timm"]
CARD_FILE, PICTURE_FILE = "README.md", "matches.jpg"
TAGS = ("equiview", "dense-features", "correspondence", "multiview-equivariance", "vision-transformer")
# It comes with equiview: there is no repository of that name to point to.
BUNDLED = "equiview/tiny"


@dataclass(frozen=True)
class HeldOutScore:
    """A score on objects that were not trained on.

    Attributes:
        type: Of the metric, as in summary.json.
        name: As people read it.
        value: Percent.
        ci95: Ends of the 95 % interval; None where there are too few objects for one.
        n: Objects.
    """

    type: str
    name: str
    value: float
    ci95: tuple[float, float] | None
    n: int


@dataclass(frozen=True)
class Card:
    """What a card says.

    Attributes:
        repo: OWNER/NAME, where it will be.
        backbone: Name the backbone was loaded by.
        base_model: Its name on the hub; None is found out from `backbone`, where that says it.
        license: A licence of the hub's list (`apache-2.0`, `other`, ...); None leaves the base model's to hold.
        library: That loads it: `equiview` an adapter, `transformers` or `timm` an export.
        own_code: The export brings `modeling_equiview.py`.
        test_set: What the scores were measured on, in words.
        scores: Of the adapted features.
        sections: More of the card, as Markdown, in this order.
    """

    repo: str
    backbone: str
    base_model: str | None = None
    license: str | None = None
    library: Library = "equiview"
    own_code: bool = False
    test_set: str = ""
    scores: Sequence[HeldOutScore] = ()
    sections: Sequence[str] = ()


def card_text(card: Card) -> str:
    """Return the whole README.md: front matter, what it is, how to load it, then its sections."""
    what = "An adapter for the dense features of" if card.library == "equiview" else "Dense features of"
    lead = (
        f"{what} the Vision Transformer `{shown_backbone(card)}`, made with equiview so that they agree between views "
        "of the same 3D point."
    )
    code = {"equiview": _adapter_code, "transformers": _transformers_code, "timm": _timm_code}[card.library](card)
    parts = [
        _front_matter(card),
        f"# {card.repo.partition('/')[2]}",
        lead,
        f"## Load it\n\n{code}",
        *card.sections,
        _terms(card),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def base_model(card: Card) -> str | None:
    """Return the hub's name of the base model; None where it has none that is known."""
    name = card.backbone
    if card.base_model is not None or name == BUNDLED:
        return card.base_model
    if name.startswith("timm:"):
        inner = name.removeprefix("timm:")
        on_hub = inner.partition(":")[2] if inner.startswith(("hf-hub:", "hf_hub:")) else f"timm/{inner}"
        return on_hub if hub_name(on_hub) else None
    return name if hub_name(name) and not Path(name).exists() else None


def shown_backbone(card: Card) -> str:
    """Return what to write where a reader names the backbone: nobody else has a folder of this machine."""
    name = card.backbone
    named = name == BUNDLED or name.startswith(("timm:", "hub:")) or base_model(card) == name
    return name if named and "local-dir" not in name else base_model(card) or Path(name).name


def _front_matter(card: Card) -> str:
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        library_name=card.library,
        base_model=base_model(card),
        pipeline_tag="image-feature-extraction",
        license=card.license or "other",
        license_name="as-the-base-model" if card.license is None else None,
        tags=[*TAGS, *(["adapter"] if card.library == "equiview" else [])],
        # A model-index without a result is refused by the hub.
        model_name=card.repo.partition("/")[2] if card.scores else None,
        eval_results=_results(card) or None,
    )
    return f"---\n{data.to_yaml()}\n---"


def _results(card: Card) -> "list[EvalResult]":
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="image-feature-extraction",
            task_name="Multiview correspondence",
            dataset_type="multiview-objects",
            dataset_name=card.test_set,
            metric_type=score.type,
            metric_name=f"{score.name} (%)",
            metric_value=round(score.value, 2),
            metric_args={"objects": score.n}
            | ({} if score.ci95 is None else {"ci95": [round(end, 2) for end in score.ci95]}),
        )
        for score in card.scores
    ]


def _adapter_code(card: Card) -> str:
    return f"""```python
import equiview  # pip install equiview
import torch

model = equiview.load("{shown_backbone(card)}", adapter="{card.repo}")
with torch.no_grad():
    features = model(torch.rand(1, 3, 480, 640))  # RGB in 0..1, any size -> [1, c, rows, cols], compared by cosine
```"""


def _transformers_code(card: Card) -> str:
    if not card.own_code:
        return f"""```python
from transformers import AutoImageProcessor, AutoModel

model = AutoModel.from_pretrained("{card.repo}").eval()
processor = AutoImageProcessor.from_pretrained("{card.repo}")  # normalises; resize to whole patches yourself
```"""
    return f"""```python
import torch
from transformers import AutoModel

model = AutoModel.from_pretrained("{card.repo}", trust_remote_code=True).eval()
with torch.no_grad():  # RGB in 0..1, any size -> [1, c, rows, cols], compared by cosine
    features = model(pixel_values=model.preprocess(torch.rand(1, 3, 480, 640))).feature_map
```

`trust_remote_code=True` runs `modeling_equiview.py` of this repository: read it first."""


def _timm_code(card: Card) -> str:
    return f"""```python
import timm

model = timm.create_model("hf-hub:{card.repo}", pretrained=True).eval()
tokens = model.forward_features(images)[:, model.num_prefix_tokens :]  # normalised by model.pretrained_cfg: [b, n, c]
```"""


def _terms(card: Card) -> str:
    if card.license is not None:
        return ""
    return f"## Licence\n\nNone was stated: the terms of the base model (`{shown_backbone(card)}`) hold."
