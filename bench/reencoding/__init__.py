"""How much scores move when pictures are encoded again so that nobody sees it: what `prefbench noise` does."""
