"""Which unit stands where in a run: epochs, nested chunks, weighted classes; and the images of pairs one by one."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from prefbench.bench.exceptions import DataError, UsageError
from prefbench.reference_trainers.data_order import (
    DataOrder,
    NestedChunks,
    ShuffledEpochs,
    WeightedClasses,
    pair_index,
)
from prefbench.reference_trainers.draws import micro_batches
from prefbench.reference_trainers.preferences.labelled_pairs import LabelCounts, LabelledPairs
from prefbench.reference_trainers.preferences.single_images import single_images

SIZES = st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(0, 3))
"""Batch, steps, seed."""


def nested(
    batch: int, steps: int, seed: int, count: int = 11, chunks: int = 3, every: int = 2
) -> NestedChunks:
    ranking = np.random.default_rng(99).permutation(50)[:count]
    return NestedChunks(seed=seed, ranking=ranking, chunks=chunks, every=every, batch=batch, steps=steps)


def weighted(batch: int, steps: int, seed: int, share: float = 0.8) -> WeightedClasses:
    first, second = np.array([1, 4, 9]), np.array([0, 2, 3, 5, 6, 7, 8])
    return WeightedClasses(seed=seed, first=first, second=second, share=share, batch=batch, steps=steps)


def epochs(batch: int, steps: int, seed: int) -> ShuffledEpochs:
    return ShuffledEpochs(seed, 7, batch, steps)


ORDERS = [epochs, nested, weighted]


@settings(max_examples=40)
@given(SIZES, st.sampled_from(ORDERS))
def test_what_an_order_says_it_meets_is_what_its_batches_hold(
    sizes: tuple[int, int, int], make: Callable[..., DataOrder]
):
    batch, steps, seed = sizes
    order = make(batch, steps, seed)
    held = {i for step in range(steps) for i in order.indices(step, range(batch))}
    met = order.met().tolist()
    assert sorted(met) == sorted(held)
    assert len(held) <= order.units


@settings(max_examples=30)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(0, 4), st.sampled_from(ORDERS))
def test_processes_micro_batches_and_a_resume_meet_the_same_rows(
    processes: int, passes: int, first: int, make: Callable[..., DataOrder]
):
    batch, steps = processes * passes * 2, 5
    common = {"seed": 1, "count": 0, "batch": batch, "steps": steps}
    whole = {
        (m.step, row): index
        for m in micro_batches(
            **common, order=make(batch, steps, 1), micro_batch=batch, first_step=0, process=0, processes=1
        )
        for row, index in zip(m.rows, m.indices, strict=True)
    }
    shared = {
        (m.step, row): index
        for process in range(processes)
        for m in micro_batches(
            **common,
            order=make(batch, steps, 1),
            micro_batch=2,
            first_step=first,
            process=process,
            processes=processes,
        )
        for row, index in zip(m.rows, m.indices, strict=True)
    }
    assert shared == {place: index for place, index in whole.items() if place[0] >= first}


def test_shuffled_epochs_are_the_stream_of_pair_index():
    order = ShuffledEpochs(seed=3, count=7, batch=4, steps=5)
    stream = [i for step in range(5) for i in order.indices(step, range(4))]
    assert stream == [pair_index(3, position, 7) for position in range(20)]
    assert sorted(stream[:7]) == sorted(stream[7:14]) == list(range(7))


def test_chunks_are_nested_and_start_with_the_easiest():
    """11 ranked, 3 chunks: linspace gives 3.67, 7.33, 11, so the first 3, 7, 11; a chunk every 2 steps of 8."""
    order = nested(batch=8, steps=8, seed=0)
    assert [order.size(chunk) for chunk in range(3)] == [3, 7, 11]
    assert [order.chunk(step) for step in range(8)] == [0, 0, 1, 1, 2, 2, 2, 2]
    for step, size in enumerate([3, 3, 7, 7, 11, 11, 11, 11]):
        held = set(order.indices(step, range(8)))
        assert held <= set(order.ranking[:size].tolist())
    first = [i for step in (0, 1) for i in order.indices(step, range(8))]
    assert set(first) == set(order.ranking[:3].tolist())


def test_within_a_chunk_every_pair_comes_once_an_epoch():
    order = nested(batch=11, steps=6, seed=5)
    last = [i for step in (4, 5) for i in order.indices(step, range(11))]
    assert sorted(last[:11]) == sorted(last[11:]) == sorted(order.ranking.tolist())
    assert last[:11] != last[11:]


def test_more_chunks_than_pairs_are_refused():
    with pytest.raises(UsageError, match=r"chunks = 3 of 2 pair\(s\)"):
        nested(batch=1, steps=1, seed=0, count=2)


def test_long_run_shares_of_the_weighted_sampler():
    """20,000 draws with share .8: standard errors .0028 for the share, .0031 for one of three images of the class."""
    order = weighted(batch=100, steps=200, seed=0)
    drawn = np.array([i for step in range(200) for i in order.indices(step, range(100))])
    in_first = np.isin(drawn, order.first)
    assert abs(in_first.mean() - 0.8) < 0.012
    for unit in order.first:
        assert abs((drawn == unit).mean() - 0.8 / 3) < 0.014
    for unit in order.second:
        assert abs((drawn == unit).mean() - 0.2 / 7) < 0.005


def test_steps_and_seeds_draw_differently():
    drawn = {weighted(50, 3, seed).indices(step, range(50)) for seed in (0, 1) for step in (0, 1, 2)}
    assert len(drawn) == 6


def test_a_class_without_images_and_a_share_of_1_are_refused():
    some, none = np.array([0, 1]), np.array([], dtype=np.int64)
    with pytest.raises(DataError, match=r"2 were preferred at least once and 0 never"):
        WeightedClasses(seed=0, first=some, second=none, share=0.5, batch=1, steps=1)
    with pytest.raises(UsageError, match="between 0 and 1"):
        WeightedClasses(seed=0, first=some, second=some, share=1.0, batch=1, steps=1)


def pairs_of(rows: list[tuple[str, str, str]], ties: list[bool] | None = None) -> LabelledPairs:
    """(prompt, winner, loser) each; the winner is image 1 of odd rows."""
    side = np.array([i % 2 for i in range(len(rows))])
    names = [(won, lost) if s == 0 else (lost, won) for (_, won, lost), s in zip(rows, side, strict=True)]
    return LabelledPairs(
        source="test",
        prompts=[prompt for prompt, _, _ in rows],
        winner_side=side,
        rows=np.arange(len(rows)),
        image=lambda row, s: Image.new("RGB", (4, 4)),
        image_names=lambda row, s: names[row][s],
        counts=LabelCounts(len(rows), 0),
        flipped=np.zeros(len(rows), dtype=bool),
        ties=None if ties is None else np.array(ties),
    )


def labels(pairs: LabelledPairs, rows: list[int] | None = None) -> dict[tuple[str, str], bool]:
    images = single_images(pairs, np.arange(len(pairs)) if rows is None else np.array(rows))
    return {
        (pairs.prompt(int(pair)), pairs.names(int(pair))[side]): bool(desirable)
        for pair, side, desirable in zip(images.pair, images.side, images.desirable, strict=True)
    }


def test_an_image_is_desirable_if_any_pair_prefers_it():
    """b loses to a and beats c; a only wins; c only loses; the same name under another prompt is another image."""
    pairs = pairs_of([("p", "a", "b"), ("p", "b", "c"), ("p", "a", "c"), ("q", "c", "a")])
    expected = {("p", "a"): True, ("p", "b"): True, ("p", "c"): False, ("q", "c"): True, ("q", "a"): False}
    assert labels(pairs) == expected


def test_the_order_of_the_pairs_does_not_change_a_label():
    rows = [("p", "a", "b"), ("p", "b", "c"), ("p", "d", "a"), ("p", "c", "e")]
    assert labels(pairs_of(rows)) == labels(pairs_of(rows[::-1]))


def test_only_the_rows_that_were_kept_count():
    pairs = pairs_of([("p", "a", "b"), ("p", "b", "c")])
    assert labels(pairs, [0]) == {("p", "a"): True, ("p", "b"): False}


def test_a_kept_tie_prefers_neither_image():
    pairs = pairs_of([("p", "a", "b"), ("p", "c", "b")], ties=[True, False])
    assert labels(pairs) == {("p", "a"): False, ("p", "b"): False, ("p", "c"): True}
