"""The distributed sum against the local one, also when a worker dies in the middle of it."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from migrate_bayes.core.errors import FitError, RecipeError
from migrate_bayes.core.parallel import BLOCKS_PER_TASK, open_scheduler
from migrate_bayes.population import PopulationModel, population_data
from migrate_bayes.population.likelihood.distributed import (
    ShardedLikelihood,
    _evaluate,
    _Shard,
    likelihood_on,
)
from migrate_bayes.population.likelihood.kernel import BLOCK
from migrate_bayes.population.likelihood.layout import run_of_blocks, unpack
from migrate_bayes.population.likelihood.op import StarLikelihood
from migrate_bayes.population.model.specification import ModelSpec

N = 3 * BLOCKS_PER_TASK * BLOCK + 777  # three runs and a part of one


@pytest.fixture(scope="module")
def data(make_stars):
    return population_data(make_stars(N, seed=1))


@pytest.fixture(scope="module")
def theta(data):
    rng = np.random.default_rng(2)
    theta = np.zeros((2, len(data.ages), 14))
    theta[..., :11] = [-3.0, 8.0, 2.0, -0.1, -0.05, 0.03, 0.1, -0.1, 0.002, -0.8, 0.5]
    return theta + 0.01 * rng.normal(size=theta.shape) * np.abs(theta)


def test_a_run_of_blocks_is_those_stars(data, theta):
    whole, _ = StarLikelihood(data.stars).per_star(theta)
    part, index = run_of_blocks(data.stars, BLOCKS_PER_TASK, 2 * BLOCKS_PER_TASK + 3)
    some, _ = StarLikelihood(part).per_star(theta)
    np.testing.assert_array_equal(some, whole[index])
    parts = [run_of_blocks(data.stars, a, a + 5)[1] for a in range(0, data.stars.n_blocks, 5)]
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(data.n_stars))


def test_unpacking_gives_back_what_was_packed(data, make_stars):
    index = np.array([5, data.n_stars - 1, 0, 1234])
    plain = unpack(data.stars, index)
    stars = make_stars(N, seed=1)
    # A few have radii that no star can have: the data leave them out.
    stars = stars.set_index(star="source_id").sel(star=data.source_id)
    np.testing.assert_array_equal(plain.radius, stars["rg_mean"].values[index, 0])
    height = np.log(np.exp(stars["ln_zmax_mean"].values[index, 0]) + 0.2)
    np.testing.assert_allclose(plain.height, height, rtol=1e-12)
    weight = stars["log_age_likelihood"].values[index].astype(float)
    weight -= weight.max(axis=1, keepdims=True)
    kept = np.isfinite(plain.log_weight)
    np.testing.assert_array_equal(kept, weight >= np.log(1e-5))
    np.testing.assert_allclose(plain.log_weight[kept], weight[kept], rtol=1e-6, atol=1e-7)
    feh = np.broadcast_to(stars["feh"].values[index][:, None], kept.shape)
    np.testing.assert_array_equal(plain.feh[kept], feh[kept])


@pytest.mark.parametrize(
    ("name", "message"),
    [("dask", 'use "threads"'), ("local:0", "none"), ("local:two", "none"), ("tcp:", "none")],
)
def test_no_such_scheduler(name, message, data):
    with pytest.raises(RecipeError, match=message), likelihood_on(data.stars, name):
        pass


def test_two_processes_give_the_bits_of_one_and_survive_a_loss(data, theta):
    local = StarLikelihood(data.stars)
    value, gradient = local.value_and_gradient(theta)
    wanted = np.random.default_rng(3).normal(size=(2, *theta.shape[:2]))
    with open_scheduler("local:2") as client:
        sharded = ShardedLikelihood(data.stars, client)
        mine = sharded.value_and_gradient(theta)
        assert mine[0] == value
        assert sharded.value(theta) == value
        np.testing.assert_array_equal(mine[1], gradient)
        for a, b in zip(
            sharded.per_star(theta, wanted), local.per_star(theta, wanted), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)

        jacobian = np.random.default_rng(4).normal(size=(*theta.shape, 5))
        for a, b in zip(
            sharded.score_outer(theta, jacobian), local.score_outer(theta, jacobian), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-12)
        assert sharded.n_stars == local.n_stars
        assert 0 < sharded.subset(500).n_stars < 1000

        # One worker is killed while the sums go on in another thread, as under a sampler.
        found, stop = [], threading.Event()

        def evaluate():
            while not stop.is_set():
                found.append(sharded.value_and_gradient(theta))

        thread = threading.Thread(target=evaluate)
        thread.start()
        while len(found) < 2:
            time.sleep(0.01)
        # Defect: on a busy machine dask had copied a shard to the other worker.
        copies = client.who_has([held.shard for held in sharded._held]).values()
        assert [len(at) for at in copies] == [1, 1]
        victim = next(iter(client.run(os.getpid).values()))
        os.kill(victim, signal.SIGKILL)
        began = time.monotonic()
        while sharded.recovered == 0 and thread.is_alive() and time.monotonic() - began < 60:
            time.sleep(0.05)
        so_far = len(found)
        while len(found) < so_far + 2 and thread.is_alive() and time.monotonic() - began < 90:
            time.sleep(0.05)
        stop.set()
        thread.join(60)
        assert not thread.is_alive()
        assert sharded.recovered >= 1
        assert len(found) >= so_far + 2
        for v, g in found:
            assert v == value
            np.testing.assert_array_equal(g, gradient)

        # The model takes it where it takes the local one.
        model = PopulationModel(data, ModelSpec(form="linear"), likelihood=sharded)
        assert model.likelihood is sharded


def test_losing_workers_for_ever_is_an_error(data, theta, monkeypatch):
    from distributed.client import FutureCancelledError

    class Broken:
        """A cluster whose every call is lost."""

        scheduler = type("S", (), {"address": "tcp://nowhere:1"})

        def wait_for_workers(self, n, timeout):
            pass

        def scheduler_info(self, n_workers=0):
            return {"workers": {"tcp://nowhere:2": {}}}

        def scatter(self, shard, **kwargs):
            return object()

        def submit(self, function, *args, **kwargs):
            class Call:
                def result(self):
                    raise FutureCancelledError("sum", "lost")

            return Call()

    sharded = ShardedLikelihood(data.stars, Broken())
    with pytest.raises(FitError, match="workers were lost 5 times"):
        sharded.value_and_gradient(theta)


def test_what_a_worker_does(data, theta):
    # In this process, where it can be looked at: runs in order, each a part of the whole sum.
    parts = _evaluate(_Shard(data.stars), "value_and_gradient", (theta,))
    assert len(parts) == 4
    value, _ = StarLikelihood(data.stars).value_and_gradient(theta)
    assert sum(p[0] for p in parts) == pytest.approx(value, rel=1e-14)
