"""The example in PickScore's README as a process: AutoModel and AutoProcessor of transformers 4.49, scores before the softmax.

Settings: `model` (a transformers folder), `processor` (likewise), `weights` (the file that `model` links to), `device`,
`make` and `seed` (write random weights of `model`'s sizes beside `weights` and end).

The computation is that of yuvalkirstain/PickScore@013b54d README.md, written anew: both embeddings divided by their length, their
product times exp(logit_scale), float32. The images of one prompt are one batch, as there. Ours: weights that do not fit are
an error, where the library warns and fills in random ones.
"""

from pathlib import Path
from typing import Any

from wire import ScoreMany, make_loud, serve

MAX_LENGTH = 77


def open_pickscore(settings: dict[str, Any]) -> ScoreMany | None:
    """The example's model and processor, loaded as it loads them."""
    import torch
    from PIL import Image
    from transformers import AutoModel, AutoProcessor, CLIPConfig, CLIPModel

    if settings.get("make"):
        torch.manual_seed(settings["seed"])
        made = make_loud(CLIPModel(CLIPConfig.from_pretrained(settings["model"])))
        made.save_pretrained(Path(settings["weights"]).parent)
        return None
    device = settings["device"]
    processor = AutoProcessor.from_pretrained(settings["processor"])
    model, loaded = AutoModel.from_pretrained(settings["model"], output_loading_info=True)
    if loaded["missing_keys"] or loaded["mismatched_keys"]:
        raise ValueError(f"the weights lack {loaded['missing_keys']} and misfit {loaded['mismatched_keys']}")
    model = model.eval().to(device)
    how = {"padding": True, "truncation": True, "max_length": MAX_LENGTH, "return_tensors": "pt"}

    def score(paths: list[str], prompt: str) -> list[float]:
        pixels = processor(images=[Image.open(path) for path in paths], **how).to(device)
        tokens = processor(text=prompt, **how).to(device)
        with torch.no_grad():
            image = model.get_image_features(**pixels)
            image = image / torch.norm(image, dim=-1, keepdim=True)
            text = model.get_text_features(**tokens)
            text = text / torch.norm(text, dim=-1, keepdim=True)
            scores: list[float] = (model.logit_scale.exp() * (text @ image.T)[0]).tolist()
        return scores

    return score


if __name__ == "__main__":
    serve(open_pickscore, ("transformers", "tokenizers", "torch", "pillow"))
