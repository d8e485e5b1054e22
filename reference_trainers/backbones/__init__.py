"""reference_trainers/backbones."""
