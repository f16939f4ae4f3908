"""Several ranks compute what one process computes, and no rank waits for one that has failed."""

import json
import sys
import threading
import types
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minirpn import files, launcher
from minirpn.data import VOCDataset
from minirpn.data.findings import BadFileError, Kind
from minirpn.devices import CPU
from minirpn.errors import InputError
from minirpn.launcher import launched
from minirpn.training import crew as crew_module
from minirpn.training import distributed
from minirpn.training.build import build_pipeline
from minirpn.training.checkpoint import load_checkpoint
from minirpn.training.config import SharingConfig, load_config
from minirpn.training.crew import together
from minirpn.training.diagnostics import replay
from minirpn.training.distributed import ALONE, Ranks, open_ranks
from minirpn.training.evaluate import evaluate_split, propose_all, validate
from minirpn.training.run_folder import RunFolder, open_run, start_run
from minirpn.training.scaling import shared_by
from minirpn.training.train import train
from minirpn.training.trainer import Trainer
from tests.training.threads_as_ranks import on_ranks

KINDS = ("rpn-only", "4-step", "approximate-joint", "joint")
TIMES = {"step_seconds", "data_wait_seconds", "seconds"}

# --- messages ------------------------------------------------------------------------------------


@given(size=st.integers(1, 40), count=st.integers(0, 200))
def test_parts_follow_one_another_and_are_even(size, count):
    ranks = Ranks()
    ranks.size = size
    parts = []
    for ranks.rank in range(size):
        parts.append(ranks.part(count))
    assert [place for part in parts for place in part] == list(range(count))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("size", [1, 2, 5])
def test_every_rank_gets_all_values_in_order(size):
    wanted = [f"from {rank}" for rank in range(size)]
    assert on_ranks(size, lambda ranks: ranks.exchange(f"from {ranks.rank}")) == [wanted] * size


@given(
    size=st.integers(1, 5),
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_arrays_are_summed(size, shapes, seed, dtype):
    rng = np.random.default_rng(seed)
    draws = [[rng.normal(size=shape).astype(dtype) for shape in shapes] for _ in range(2 * size)]
    before = [[array.copy() for array in arrays] for arrays in draws]

    def work(ranks):
        found = []
        for turn in range(2):  # the second time in the memory of the first
            sums, values = ranks.sums(draws[2 * ranks.rank + turn], ranks.rank, factor=0.5)
            assert values == list(range(size))
            found.append([array.copy() for array in sums])
        return found

    outcomes = on_ranks(size, work)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    for outcome in outcomes:
        for turn, arrays in enumerate(outcome):
            for found, *parts in zip(arrays, *before[turn::2], strict=True):
                assert found.dtype == dtype
                wanted = np.sum(parts, axis=0, dtype=dtype) / 2
                np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
        np.testing.assert_equal(outcome, outcomes[0])  # the same bits
    np.testing.assert_equal(draws, before)


def failing(error):
    def work(ranks):
        def part():
            if ranks.rank == 1:
                raise error
            ranks.exchange("while the others talk")

        return ranks.perform(part)

    return work


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (InputError("a.xml: object 1: no box"), InputError, "{}: a.xml: object 1: no box"),
        (MemoryError("2 GiB"), MemoryError, "{}: 2 GiB"),
        (FloatingPointError("loss is nan"), FloatingPointError, "{}: loss is nan"),
        (OSError(28, "No space left", "/x"), InputError, "{}: /x: No space left"),
        (TypeError("mine"), RuntimeError, "{}: TypeError: mine"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("size", [2, 3])
def test_what_fails_on_one_rank_fails_on_all(error, kind, told, size):
    outcomes = on_ranks(size, failing(error))
    assert outcomes[1] is error
    for rank in {*range(size)} - {1}:
        assert type(outcomes[rank]) is kind
        assert str(outcomes[rank]) == told.format(f"rank 1 of {size} on {ALONE.hosts[0]}")
    assert all(outcome.is_told for outcome in outcomes)
    if kind is RuntimeError:
        assert "in part" in outcomes[0].__notes__[0]  # the traceback


def test_a_bad_file_is_known_as_one_everywhere(tmp_path):
    error = BadFileError(next(iter(Kind)), tmp_path / "a.jpg", "image", "cut short")
    first, own = on_ranks(2, failing(error))
    assert own is error
    assert isinstance(first, BadFileError)
    assert first.finding.path == tmp_path / "a.jpg"
    assert str(first).endswith(f"image: cut short (rank 1 of 2 on {ALONE.hosts[0]})")


def test_after_a_failure_the_ranks_can_go_on():
    def work(ranks):
        with pytest.raises(InputError):
            failing(InputError("once"))(ranks)
        return ranks.exchange(ranks.rank)

    assert on_ranks(3, work) == [[0, 1, 2]] * 3


def test_all_know_when_one_is_asked_to_stop():
    def work(ranks):
        with ranks.stopping_when(lambda: ranks.rank == 2):
            before = ranks.must_stop
            ranks.exchange()
            return before, ranks.must_stop

    assert on_ranks(3, work) == [(False, True), (False, True), (True, True)]


# --- launchers -----------------------------------------------------------------------------------


@pytest.fixture
def started_by(monkeypatch):
    """Set the environment that a launcher gives a process."""

    def start(**variables):
        for names in launcher._VARIABLES:
            for name in names:
                monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    start()
    return start


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, (1, 0)),
        ({"PMI_SIZE": "4", "PMI_RANK": "3"}, (4, 3)),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, (2, 1)),
        ({"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "0"}, (8, 0)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, (1, 0)),  # a batch script, outside of srun
        ({"PMI_SIZE": "many", "PMI_RANK": "0"}, (1, 0)),
    ],
)
def test_a_process_knows_how_it_was_started(started_by, variables, wanted):
    started_by(**variables)
    assert launched() == wanted


def test_without_a_launcher_or_with_off_a_process_is_alone(started_by, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # it is not even looked for
    assert open_ranks().is_alone
    started_by(PMI_SIZE="4", PMI_RANK="2")
    assert open_ranks("off").is_alone


def test_without_mpi4py_it_says_what_to_install(started_by, monkeypatch):
    started_by(PMI_SIZE="4", PMI_RANK="2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(InputError, match=r"started as 4 processes .* pip install 'minirpn\[mpi\]'"):
        open_ranks()


def test_a_launcher_of_another_mpi_is_told(started_by, monkeypatch):
    started_by(OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="2")
    world = types.SimpleNamespace(Get_size=lambda: 1)
    mpi = types.SimpleNamespace(COMM_WORLD=world, Get_library_version=lambda: "MPICH  Version: 5\n")
    monkeypatch.setitem(sys.modules, "mpi4py", types.SimpleNamespace(MPI=mpi))
    with pytest.raises(InputError, match=r"started as 4 .* but MPICH Version: 5 sees 1: launcher"):
        open_ranks()


# --- devices -------------------------------------------------------------------------------------


@pytest.fixture
def gpus(monkeypatch):
    """Give a machine so many GPUs, each process sees all of them."""

    def have(count):
        def open_device(name, *, tf32=False, turn=0):
            if not count:
                return CPU
            like = types.SimpleNamespace()
            return CPU._replace(name=f"cuda:{turn % count}", like=like)

        monkeypatch.setattr(distributed, "open_device", open_device)
        monkeypatch.setattr(distributed, "card_of", lambda device: f"card {device.name}")
        monkeypatch.setattr("minirpn.devices.is_numpy", lambda like: isinstance(like, np.ndarray))

    return have


def opened(size, name="auto"):
    return on_ranks(size, lambda ranks: ranks.perform(lambda: ranks.open_device(name)).name)


def test_each_rank_of_a_machine_gets_a_gpu_of_its_own(gpus, nccl):
    gpus(4)
    nccl()
    assert opened(3) == ["cuda:0", "cuda:1", "cuda:2"]


@pytest.fixture
def nccl(monkeypatch):
    """Have NCCL on these ranks; what it sums is negative, so that one sees who did it."""
    made = []

    class Group:
        def all_reduce(self, array, total):
            total[...] = -array

    def init_process_group(size, rank, *, use_mpi):
        made.append((size, rank, use_mpi))
        return Group()

    def there(*ranks):
        names = ["MainThread", *(f"rank-{rank}" for rank in range(1, 9))]

        class Library(types.ModuleType):
            @property
            def available(self):
                return names.index(threading.current_thread().name) in ranks

        library = Library("nccl")
        library.get_version = lambda: 22_809
        cuda = types.SimpleNamespace(nccl=library)
        monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(cuda=cuda))
        monkeypatch.setitem(sys.modules, "cupy.cuda", cuda)
        distributed_module = types.SimpleNamespace(init_process_group=init_process_group)
        monkeypatch.setitem(sys.modules, "cupyx", types.SimpleNamespace())
        monkeypatch.setitem(sys.modules, "cupyx.distributed", distributed_module)
        return made

    return there


def summed(ranks):
    ranks.perform(lambda: ranks.open_device("cuda"))
    return ranks.sums([np.ones(2)])[0][0].tolist(), ranks.describe()["gradients"]


def test_gradients_on_gpus_are_summed_by_nccl(gpus, nccl):
    gpus(2)
    made = nccl(0, 1)
    assert on_ranks(2, summed) == [([-1, -1], "NCCL 2.28.9")] * 2
    assert sorted(made) == [(2, 0, True), (2, 1, True)]


def test_where_a_rank_has_no_nccl_mpi_sums_and_it_is_said(gpus, nccl):
    gpus(2)
    made = nccl(0)
    for total, by in on_ranks(2, summed):
        assert total == [2, 2]
        assert by.startswith("MPI through the host, for NCCL is missing (pip install ")
    assert made == []


def test_more_ranks_than_gpus_are_told(gpus):
    gpus(1)
    for outcome in opened(3, "cuda"):
        assert isinstance(outcome, InputError)
        assert "3 ranks on " in str(outcome)
        assert str(outcome).endswith("and 1 GPU: start one rank for each, or --device cpu")


def test_without_a_gpu_all_compute_on_the_cpu(gpus):
    gpus(0)
    assert opened(2) == ["cpu", "cpu"]


def test_the_cores_of_a_machine_are_divided(monkeypatch):
    monkeypatch.setattr(distributed, "_cores", lambda: tuple(range(8)))
    assert on_ranks(3, lambda ranks: ranks.threads) == [2, 2, 2]
    # The launcher has given each its own.
    names = {"MainThread": (0, 1, 2), "rank-1": (3, 4, 5)}
    monkeypatch.setattr(distributed, "_cores", lambda: names[threading.current_thread().name])
    assert on_ranks(2, lambda ranks: ranks.threads) == [3, 3]


def test_threads_are_those_of_the_settings_or_a_part_of_the_cores(monkeypatch):
    counts = []
    monkeypatch.setattr(distributed, "set_threads", counts.append)
    Ranks().use_threads()
    assert counts == []  # alone, it computes with all there are
    Ranks().use_threads(3)
    assert counts == [3]
    monkeypatch.setattr(distributed, "_cores", lambda: tuple(range(8)))
    on_ranks(2, lambda ranks: ranks.use_threads())
    on_ranks(2, lambda ranks: ranks.use_threads(5))
    assert counts == [3, 4, 4, 5, 5]


# --- trainings -----------------------------------------------------------------------------------


@pytest.fixture
def config_of(small_config):
    """Settings of a run whose steps have several images, in float64."""

    def make(kind="rpn-only", *, images=4, steps=20, method="sgd"):
        return replace(
            small_config,
            model=replace(small_config.model, dtype="float64"),
            sharing=SharingConfig(kind=kind, pre_nms=60, post_nms=20),
            optimizer=replace(
                small_config.optimizer, steps=steps, images_per_step=images, method=method
            ),
            run=replace(small_config.run, pictures=False, validate_every=7, checkpoint_every=6),
        )

    return make


@pytest.fixture
def trained(tmp_path):
    """Train in a new folder, or resume the run there, with so many ranks."""

    def run(name, size, config=None, **options):
        path = tmp_path / name

        def first(ranks):
            options.update(device=CPU, progress=False, ranks=ranks)
            if config is None:
                folder = open_run(path)
                return train(load_config(folder.config), folder, resume=True, **options)
            shared, _ = shared_by(config, size)
            with start_run(path, shared, CPU, ranks) as folder:
                return train(shared, folder, **options)

        outcomes = on_ranks(size, lambda ranks: together(ranks, CPU, lambda: first(ranks)))
        return RunFolder(path), outcomes

    return run


def state_of(folder):
    checkpoint = load_checkpoint(folder.last)
    kept = {"velocity": checkpoint.velocity, "squares": checkpoint.squares}
    arrays = {f"{kind} {k}": v for kind, some in kept.items() for k, v in some.items()}
    arrays |= checkpoint.parameters
    return checkpoint.step, checkpoint.phase, arrays


def records_of(folder):
    lines = map(json.loads, folder.metrics.read_text().splitlines())
    return [{k: v for k, v in line.items() if k not in TIMES} for line in lines]


def assert_close(one, other):
    (*places, arrays), (*other_places, others) = state_of(one), state_of(other)
    assert places == other_places
    for name, array in arrays.items():
        np.testing.assert_allclose(array, others[name], rtol=1e-12, atol=1e-12, err_msg=name)
    for record, told in zip(records_of(one), records_of(other), strict=True):
        assert set(record) == set(told)
        for key, value in record.items():
            if isinstance(value, float):
                assert told[key] == pytest.approx(value, rel=1e-9, abs=1e-12), key
            elif record["kind"] in ("train", "validate"):
                assert told[key] == value, key


@pytest.mark.parametrize(
    ("kind", "size", "steps", "method"),
    [
        ("rpn-only", 2, 9, "sgd"),
        ("rpn-only", 2, 9, "adamw"),
        pytest.param("rpn-only", 4, 20, "sgd", marks=pytest.mark.slow),
        pytest.param("4-step", 3, 12, "sgd", marks=pytest.mark.slow),
        pytest.param("approximate-joint", 2, 9, "sgd", marks=pytest.mark.slow),
        pytest.param("joint", 3, 9, "sgd", marks=pytest.mark.slow),
    ],
)
def test_ranks_train_what_one_process_trains(trained, config_of, kind, size, steps, method):
    config = config_of(kind, steps=steps, method=method)
    alone, results = trained("alone", 1, config)
    shared, all_results = trained("shared", size, config)
    assert_close(shared, alone)
    for result in all_results:
        assert result.recall.to_dict() == results[0].recall.to_dict()
    assert load_config(shared.config).run.ranks == size
    told = json.loads(shared.environment.read_text())["ranks"]
    assert told == {
        "size": size,
        "hosts": [*ALONE.hosts] * size,
        "threads": max(1, ALONE.threads // size),
        "mpi": "threads",
        "gradients": "MPI",
    }
    assert f"{size} ranks ({size} on {ALONE.hosts[0]}); gradients by MPI" in shared.text.read_text()


@pytest.mark.slow
def test_the_same_bits_from_run_to_run(trained, config_of):
    ends = [state_of(trained(name, 3, config_of(steps=6))[0]) for name in ("one", "other")]
    np.testing.assert_equal(ends[0], ends[1])


class _Asked:
    """In place of `InterruptRequest` on a rank that follows: asked to stop when the test says."""

    now = False

    def __init__(self, **_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @property
    def requested(self):
        return _Asked.now


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        ("rpn-only", "sgd"),
        ("rpn-only", "adamw"),
        pytest.param("4-step", "sgd", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_one_rank_stopped_is_resumed_to_the_same_bits(
    trained, config_of, monkeypatch, kind, method
):
    config = config_of(kind, steps=12, method=method)
    whole, _ = trained("whole", 2, config)
    take = Trainer.train_step

    def noted(trainer, *args):
        if trainer.ranks.rank == 1:
            _Asked.now = trainer.step == 4
        return take(trainer, *args)

    with monkeypatch.context() as patch:
        patch.setattr(_Asked, "now", False)
        patch.setattr(Trainer, "train_step", noted)
        patch.setattr(crew_module, "InterruptRequest", _Asked)
        stopped, results = trained("stopped", 2, config)
    assert [(one.interrupted, one.steps) for one in results] == [(True, 5)] * 2
    trained("stopped", 2)
    np.testing.assert_equal(state_of(stopped), state_of(whole))
    assert records_of(stopped) == records_of(whole)


def test_with_another_number_of_ranks_it_goes_on_and_says_so(
    trained, config_of, monkeypatch, stop_after
):
    config = config_of(steps=8)
    whole, _ = trained("whole", 1, config)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        stopped, _ = trained("stopped", 2, config)
    trained("stopped", 4)
    assert_close(stopped, whole)
    assert load_config(stopped.config).run.ranks == 4
    said = "its steps are now taken by 4 ranks, before by 2 ranks: sums are added in another order"
    assert said in stopped.text.read_text()


def test_a_step_cannot_be_shared_by_more_ranks_than_it_has_images(
    trained, config_of, monkeypatch, stop_after
):
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        folder, _ = trained("run", 2, config_of(images=2, steps=8))
    before = state_of(folder)
    _, outcomes = trained("run", 3)
    assert str(outcomes[0]) == (
        "optimizer.images_per_step: a step of this run has 2 images, so no more than 2 of the 3 "
        "processes can share it"
    )
    assert outcomes[1:] == [None, None]  # the first one tells
    np.testing.assert_equal(state_of(folder), before)
    trained("run", 1)
    assert load_checkpoint(folder.last).step == 8


def test_only_the_first_rank_writes(trained, config_of, monkeypatch):
    writers = set()

    def watch(name):
        write = getattr(files, name)

        def watched(*args, **options):
            writers.add(threading.current_thread().name)
            return write(*args, **options)

        for key, module in list(sys.modules.items()):
            if key.startswith("minirpn") and getattr(module, name, None) is write:
                monkeypatch.setattr(module, name, watched)

    for name in ("replace_file", "append_text", "write_json", "write_npz"):
        watch(name)
    trained("run", 2, config_of("4-step", steps=6))
    assert writers == {"MainThread"}


def test_a_number_that_is_not_finite_is_found_on_its_rank(trained, config_of, monkeypatch):
    config, take, bad = config_of(), Trainer.train_step, []
    config = replace(config, run=replace(config.run, checkpoint_every=3))

    def spoiled(trainer, examples, proposals):
        if trainer.step == 3 and trainer.ranks.rank == 1:
            examples[1].image[:, 3, 3] = np.nan
            bad.append(examples[1].image_id)
        return take(trainer, examples, proposals)

    monkeypatch.setattr(Trainer, "train_step", spoiled)
    folder, (error, other) = trained("run", 2, config)
    quantity = f"objectness_loss is nan on rank 1 of 2 on {ALONE.hosts[0]}"
    assert f"{bad[0]}.jpg: step 4: {quantity}; a lower --lr may help" in str(error)
    assert other is None
    assert load_checkpoint(folder.last).step == 3
    again = replay(folder.path / "failure-4.npz")
    assert (again.image_id, again.where) == (bad[0], "the input of conv1")
    monkeypatch.setattr(Trainer, "train_step", take)
    trained("run", 2)
    assert load_checkpoint(folder.last).step == 20


def test_ranks_that_see_other_images_are_told(trained, config_of, monkeypatch):
    open_splits = crew_module.open_splits

    def others(config, folder):
        splits = open_splits(config, folder)
        return splits._replace(train=splits.val)

    monkeypatch.setattr(crew_module, "open_splits", others)  # of the ranks that follow
    config = config_of()
    folder, (error, other) = trained("run", 2, config)
    assert str(error).startswith(
        f"rank 1 of 2 on {ALONE.hosts[0]}: {config.data.voc}: not the images that rank 0 sees"
    )
    assert other is None
    assert not folder.path.exists()  # nothing was learned


# --- images of a split ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(small_config, shapes):
    config = replace(small_config, sharing=SharingConfig(kind="approximate-joint", pre_nms=60))
    classes = VOCDataset(shapes, split="train").classes
    return Trainer(replace(config, data=replace(config.data, classes=classes)))


@pytest.mark.parametrize(("size", "limit"), [(2, None), (3, 7), (4, 2), (5, 1)])
def test_images_of_a_split_are_shared_and_the_result_is_that_of_one_process(
    network, shapes, size, limit
):
    dataset, config = VOCDataset(shapes, split="train"), network.config
    pipeline = build_pipeline(config, network.network)
    seen = []

    class Watched:
        def __len__(self):
            return len(dataset)

        def __getitem__(self, index):
            seen.append(index)
            return dataset[index]

    def measured(ranks, images):
        def work():
            proposals = propose_all(
                network.network, images, pipeline, config.proposals, limit=limit, ranks=ranks
            )
            options = {"limit": limit, "ranks": ranks}
            validation = validate(
                network.model,
                dataset,
                pipeline,
                network.objective,
                config.proposals,
                detections=config.detections,
                seed=3,
                **options,
            )
            found = evaluate_split(network.model, config, dataset, **options)
            return list(proposals), validation, found

        return ranks.perform(work)

    wanted = measured(ALONE, dataset)
    for outcome in on_ranks(size, lambda ranks: measured(ranks, Watched())):
        assert plain(outcome) == plain(wanted)
    count = len(dataset) if limit is None else limit
    assert sorted(seen) == list(range(count))  # each by one rank


def plain(value):
    """Return a result as something that `==` compares to the bit."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value
