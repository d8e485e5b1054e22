"""Which labels and which pairs a method trains on: scores of images, votes, ratings of prompts, top-K."""
