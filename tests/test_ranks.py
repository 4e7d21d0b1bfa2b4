"""Two processes that torchrun started learn what one process learns, and go on after a kill."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rag_cases import SMALL, small_rag
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from minirag.corpus.passages import Passage
from minirag.errors import MiniragError
from minirag.models.bart import Bart, BartConfig
from minirag.models.bert import Bert, BertConfig
from minirag.retrieval.biencoder import BiEncoder
from minirag.training.dpr import InBatch, Pair
from minirag.training.finetune import EndToEnd
from minirag.training.loop import read_log, train
from minirag.training.ranks import gathered, processes, rank, ranks, share_of
from minirag.training.settings import Settings
from minirag.training.state import load_best
from minirag.training.targets import QuestionAnswer

WORDS, STEPS, KILL = 30, 20, 7
ROWS, D = 3, 2  # of what is gathered


class Tokenizer:
    """Texts are numbers with spaces between them, and these are the tokens."""

    def __len__(self) -> int:
        return WORDS

    def __call__(self, texts: list[str], pairs: list[str] | None = None, **settings: Any) -> dict[str, list[list[int]]]:
        whole = [[2, *map(int, text.split()), 3] for text in texts]
        more = [[*map(int, text.split()), 3] for text in pairs or [""] * len(texts)]
        return {"input_ids": [one + (other if pairs else []) for one, other in zip(whole, more, strict=True)]}


def retriever(seed: int = 0) -> InBatch:
    """A tiny bi-encoder in float64, without dropout."""
    torch.manual_seed(seed)
    config = BertConfig(WORDS, dim=8, layers=2, heads=2, inner=12, positions=20, dropout=0.0)
    encoders = [Bert(config).double() for _ in range(2)]
    for weight in (weight for encoder in encoders for weight in encoder.parameters()):
        nn.init.normal_(weight, std=0.3)
    return InBatch(BiEncoder(*encoders, Tokenizer(), dtype="float32", max_length=20))


def pairs(step: int) -> list[Pair]:
    """Eight questions; some passages are right for several, also for one that another process computes."""
    chance = random.Random(step)

    def text(length: int) -> str:
        return " ".join(str(chance.randrange(4, WORDS)) for _ in range(length))

    passages = [Passage(str(i), text(chance.randrange(3)), text(1 + chance.randrange(6))) for i in range(10)]
    drawn = [chance.sample(passages, 2) for _ in range(8)]
    return [Pair(text(4), own, (other,), frozenset({own.id, chance.choice(passages).id})) for own, other in drawn]


class Writing(nn.Module):
    """A tiny BART; an example is what it reads and what it is to write, of any length: the loss is a token's."""

    def __init__(self, dropout: float = 0.0, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        sizes = SMALL | {"encoder_layers": 1, "decoder_layers": 1}
        dropouts = {"dropout": dropout, "attention_dropout": dropout, "activation_dropout": dropout}
        self.bart = Bart(BartConfig(WORDS, **sizes, **dropouts)).double()

    def forward(self, examples: Sequence[tuple[list[int], list[int]]]) -> tuple[Tensor, int]:
        total, count = torch.zeros((), dtype=torch.float64), 0
        for source, target in examples:
            read = self.bart.read(torch.tensor([source]), torch.ones(1, len(source), dtype=torch.bool))
            logits = self.bart.logits(read, torch.tensor([[self.bart.config.start_id, *target[:-1]]]))  # [1, T, V]
            total, count = total + F.cross_entropy(logits[0], torch.tensor(target), reduction="sum"), count + len(target)
        return total, count


def copies(step: int) -> list[tuple[list[int], list[int]]]:
    """Of eight examples the last four, which are the second process's, are longer."""
    chance = random.Random(step)
    sources = [[chance.randrange(3, WORDS) for _ in range(chance.randrange(1, 4) + 4 * (i > 3))] for i in range(8)]
    return [(source, source[::-1]) for source in sources]


RIVERS = {"Nile": "blue sea", "Rhine": "cold sea", "Volga": "deep sea", "Indus": "warm sea"}
ASKED = [QuestionAnswer(f"Where does the {river} flow?", sea) for river, sea in RIVERS.items()]


def rag() -> EndToEnd:
    """A tiny RAG over an exact index, whose question encoder and generator learn."""
    passages = [Passage(river, river, f"It flows to the {sea}.") for river, sea in RIVERS.items()]
    model = small_rag(Path(tempfile.mkdtemp()), passages, [one.question for one in ASKED])
    return EndToEnd(model.train(), k=3)


def asked(step: int) -> list[QuestionAnswer]:
    return random.Random(step).choices(ASKED, k=8)


class Branches(nn.Module):
    """One weight for numbers below 4, another for those from 4 on, and one for none."""

    def __init__(self) -> None:
        super().__init__()
        self.low, self.high, self.unused = (nn.Parameter(torch.tensor(1.0, dtype=torch.float64)) for _ in range(3))

    def forward(self, examples: Sequence[float]) -> tuple[Tensor, int]:
        return sum(((self.low if x < 4 else self.high) * x).square() for x in examples), len(examples)  # type: ignore[return-value]


class Number(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(1.0))

    def forward(self, examples: Sequence[float]) -> tuple[Tensor, int]:
        return (self.x * torch.tensor(examples)).square().sum(), len(examples)


def told(error: type[Exception], call: Callable[[], Any]) -> str:
    try:
        call()
    except error as raised:
        return str(raised)
    return ""


def gradients(vectors: Tensor, factors: Tensor) -> list[Tensor]:
    """Of a loss over all vectors `[N, D]` with factors `[N, D]`: for the vectors, and for what is added to them."""
    vectors, added = vectors.clone().requires_grad_(), torch.ones(2 * ROWS, D, requires_grad=True)
    moved = 1.0 * added  # a sum hands the same gradient to both of its parts, and this one is to be used after the gathering's
    loss = (factors * (gathered(vectors) + moved)).square().sum()
    return list(torch.autograd.grad(loss, [vectors, added]))


def vectors_and_factors() -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(0)
    return torch.randn(2 * ROWS, D, generator=chance), torch.randn(2, 2 * ROWS, D, generator=chance)


RUNS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Sequence[Any]], dict[str, Any]]] = {
    "retriever": (retriever, pairs, {}),
    "writing": (Writing, copies, {"clip": 0.1}),
    "in pieces": (Writing, copies, {"accumulate": 4}),
    "end to end": (rag, asked, {"rate": 1e-3}),
    "a weight each": (Branches, lambda step: [1.0, 2.0, 4.0, 5.0], {}),
}


CLOSE = {"end to end": 1e-3}  # in float32; the others are in float64
NOISE = (
    "key.bias"  # the softmax does not depend on it: in float32 its derivative is rounding alone, and AdamW makes steps of it
)


def run(name: str, folder: Path) -> None:
    """One of the trainings above in this process, or in all of them; the weights at its end."""
    make, draw, settings = RUNS[name]
    model = make()
    own = {"rate": 0.02} | settings
    train(model, draw, Settings(STEPS, warmup=3, log_every=5, **own), folder, progress=False)
    save_file(model.state_dict(), folder.with_name(f"{folder.name}.weights"))


def mean_weight(model: nn.Module) -> Callable[[], dict[str, float]]:
    return lambda: {"mean": float(next(model.parameters()).detach().mean())}


def work(folder: Path) -> None:
    """What each of the two processes does; on the first attempt the second one kills itself in the middle."""
    torch.set_num_threads(1)
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    settings = Settings(12, 0.05, log_every=2, save_every=3, evaluate_every=4, best="mean", precision="float16")

    def killing(step: int) -> Sequence[Any]:
        if first and step == KILL and rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return copies(step)

    found: dict[str, Any] = {}
    with processes() as device:
        found |= {"device": str(device), "rank": rank(), "ranks": ranks()}
        model = Writing(dropout=0.2, seed=0 if first else 1 + rank()).float()
        train(model, killing, settings, folder / "killed", mean_weight(model), progress=False)
        for name in RUNS:
            run(name, folder / f"{name}, rank {rank()} of 2")
        model = Writing(dropout=0.2).float()
        train(model, copies, settings, folder / "unkilled", mean_weight(model), progress=False)
        vectors, factors = vectors_and_factors()
        grads = gradients(vectors.chunk(2)[rank()], factors[rank()])
        found["gradients"] = [grad.tolist() for grad in grads]

        def training(draw: Callable[[int], Sequence[Any]], name: str) -> Callable[[], Any]:
            return lambda: train(Number(), draw, Settings(6, 0.1, save_every=2), folder / name, progress=False)

        found["uneven"] = told(MiniragError, training(lambda step: [1.0] * 5, "uneven"))
        last = [1.0, 2.0, 3.0, math.nan]  # the second process alone sees what is no number
        bad = f"bad, rank {rank()}"
        found["bad"] = told(MiniragError, training(lambda step: last if step == 3 else [1.0] * 4, bad))
    found["after"] = [rank(), ranks()]
    (folder / f"found-{found['rank']}.json").write_text(json.dumps(found))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left behind. Starting them takes longer than their work, so they do all of it at once."""
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "script.py"
    script.write_text("import sys\nfrom pathlib import Path\nfrom test_ranks import work\nwork(Path(sys.argv[1]))\n")
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    environment |= {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONWARNINGS": "ignore"}
    environment |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # see ranks.py
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"]
    with subprocess.Popen(
        [*command, str(script), str(folder)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as launched:
        try:
            said, _ = launched.communicate(timeout=300)
        except subprocess.TimeoutExpired:
            launched.terminate()  # then it ends the two processes as well
            raise
    assert launched.returncode == 0, said
    assert "exitcode: -9" in said, said  # the kill on the first attempt
    return folder


def found(folder: Path, rank: int) -> dict[str, Any]:
    return json.loads((folder / f"found-{rank}.json").read_text())


def test_each_process_knows_which_it_is_and_afterwards_is_alone(folder: Path) -> None:
    for number in range(2):
        one = found(folder, number)
        assert (one["device"], one["rank"], one["ranks"], one["after"]) == ("cpu", number, 2, [0, 1])


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_learn_what_one_learns(folder: Path, tmp_path: Path, name: str) -> None:
    run(name, tmp_path / "alone")
    close = CLOSE.get(name, 1e-8)
    alone, *both = (
        {key: weight for key, weight in load_file(file).items() if name not in CLOSE or not key.endswith(NOISE)}
        for file in (tmp_path / "alone.weights", *(folder / f"{name}, rank {number} of 2.weights" for number in range(2)))
    )
    for weights in both:
        assert_close(weights, alone, rtol=0.0, atol=close)
    rows, alone_rows = (read_log(path) for path in (folder / f"{name}, rank 0 of 2", tmp_path / "alone"))
    assert len(rows) == len(alone_rows) == 4
    for row, alone_row in zip(rows, alone_rows, strict=True):
        assert_close({**row, "seconds": 0.0}, {**alone_row, "seconds": 0.0}, rtol=0.0, atol=close)
    begun = RUNS[name][0]().state_dict()
    assert max(float((alone[weight] - begun[weight]).abs().max()) for weight in alone) > 0.01
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_only_the_first_process_writes(folder: Path) -> None:
    for name in RUNS:
        files = [sorted(path.name for path in (folder / f"{name}, rank {number} of 2").iterdir()) for number in range(2)]
        assert files == [["log.jsonl", "state.safetensors"], []]


def test_killed_it_goes_on_to_the_same_bits(folder: Path) -> None:
    for file in ("state.safetensors", "best.safetensors"):
        killed, unkilled = (load_file(folder / name / file) for name in ("killed", "unkilled"))
        assert killed.keys() == unkilled.keys()
        assert all(torch.equal(tensor, unkilled[name]) for name, tensor in killed.items())
    bests = [load_best(folder / name, Writing().float()) for name in ("killed", "unkilled")]
    assert bests[0] == bests[1]
    rows = [[{**row, "seconds": 0.0} for row in read_log(folder / name)] for name in ("killed", "unkilled")]
    assert json.dumps(rows[0]) == json.dumps(rows[1])
    assert [row["step"] for row in rows[0]] == [2, 4, 4, 6, 8, 8, 10, 12, 12]


def test_the_gradient_of_gathered_vectors_is_that_of_one_process(folder: Path) -> None:
    vectors, factors = vectors_and_factors()
    expected, _ = gradients(vectors, factors)  # of both processes' losses together
    for number in range(2):
        own, added = (torch.tensor(grad) for grad in found(folder, number)["gradients"])
        assert_close(own, expected.chunk(2)[number])
        assert_close(added, gradients(vectors, factors[number])[1])  # what is not gathered knows of its own process's loss


def test_a_batch_that_cannot_be_shared_is_named(folder: Path) -> None:
    for number in range(2):
        assert "5 examples cannot be shared by 2 processes evenly" in found(folder, number)["uneven"]
    for size, count in ((0, 1), (1, 2), (3, 2)):
        with pytest.raises(MiniragError, match=f"{size} examples cannot be shared by {count} processes evenly"):
            share_of([0] * size, 0, count)
    assert [share_of(range(6), number, 3) for number in range(3)] == [range(0, 2), range(2, 4), range(4, 6)]


def test_all_stop_where_one_finds_no_number_and_the_whole_batch_is_kept(folder: Path) -> None:
    for number in range(2):
        assert found(folder, number)["bad"].startswith("at step 3 the loss is nan and the norm of its gradient nan")
    first, second = (folder / f"bad, rank {number}" for number in range(2))
    examples = json.loads((first / "bad_batch.json").read_text())["examples"]
    assert examples[:3] == [1.0, 2.0, 3.0]
    assert math.isnan(examples[3])
    assert list(second.iterdir()) == []


def test_without_torchrun_there_is_one_process_and_nothing_is_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    vectors = torch.randn(ROWS, D)
    with processes() as device:
        assert (rank(), ranks()) == (0, 1)
        assert device.type == ("cuda" if torch.cuda.device_count() >= ranks() else "cpu")
        assert gathered(vectors) is vectors
