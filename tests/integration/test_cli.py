"""The command line as a person meets it: real processes, one line for each thing that is wrong, never a traceback."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

LEAST = """
gateway.port = 0
[adapters.desk]
type = "desk"
[sites.shop]
origins = ["https://shop.example"]
destinations = ["desk"]
"""
ELSEWHERE = "Choose another address: gateway.host and gateway.port in the configuration, --port for the demo."
PROMPT = 20.0
"""Seconds in which a process says what it has to say."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(LEAST, "utf-8")
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bridge", *map(str, arguments)]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("THREADBRIDGE__")}
    return {**plain, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "200", **(more or {})}


def ended(
    folder: Path, *arguments: object, environ: Mapping[str, str] | None = None, typed: str = ""
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment(environ), input=typed,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    return done


class Running:
    """A process that serves, and the lines it has printed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(name, getattr(process, name))) for name in self._lines
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: Iterator[str]) -> None:
        for line in stream:
            with self._changed:
                self._lines[name].append(line.rstrip("\n"))
                self._changed.notify_all()

    def line(self, name: str, part: str) -> str:
        """Return the first line of a stream that holds a text, once it is there."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(part in line for line in self._lines[name]), PROMPT), self.said
            return next(line for line in self._lines[name] if part in line)

    @property
    def said(self) -> str:
        return "\n".join([*self._lines["stdout"], *self._lines["stderr"]])

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        status = self.process.wait(PROMPT)
        self.join()
        assert "Traceback" not in self.said
        return status

    def join(self) -> None:
        """Read to the end, which the process's own end brings."""
        for reader in self._readers:
            reader.join(PROMPT)


@contextmanager
def running(folder: Path, *arguments: object) -> Iterator[Running]:
    with subprocess.Popen(
        command(*arguments), cwd=folder, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        program = Running(process)
        try:
            yield program
        finally:
            process.kill()
            program.join()


def get(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=PROMPT) as response:
        return response.status, response.read().decode()


# --- what serves ------------------------------------------------------------------------------------------------------


def test_demo_prints_both_addresses_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path, "demo") as demo:
        shop = demo.line("stdout", "Shop page:").split()[-1]
        desk = demo.line("stdout", "Desk:").split()[-1]
        assert shop.startswith("http://127.0.0.1:")
        assert desk.startswith(shop.removesuffix("/demo/") + "/desk/#token=")
        assert get(shop)[0] == 200
        assert demo.stop(signal.SIGINT) == 0
    assert (tmp_path / "data/demo/threadbridge.db").exists()


def test_demo_takes_the_next_free_port_and_says_when_the_given_one_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = ended(tmp_path, "demo", "--port", port)
        assert done.returncode == 1
        assert done.stderr == f"The gateway cannot listen on 127.0.0.1:{port}: Address already in use. {ELSEWHERE}\n"
    with running(tmp_path, "demo") as first:
        address = first.line("stdout", "Shop page:")
        other = tmp_path / "other"
        other.mkdir()
        with running(other, "demo") as second:
            assert second.line("stdout", "Shop page:") != address


def test_serve_prints_the_desk_it_made_and_stops_on_sigterm(file: Path) -> None:
    with running(file.parent, "serve", "--config", file, "--log-format", "json") as serve:
        desk = serve.line("stdout", "Desk: ").removeprefix("Desk: ")
        ready = json.loads(serve.line("stderr", '"ready"'))
        assert desk.startswith(ready["url"])
        assert get(ready["url"] + "/healthz") == (200, "ok\n")
        assert get(ready["url"] + "/readyz")[0] == 200
        assert json.loads(get(ready["url"] + "/v1/sites/shop")[1])["key"] == "shop"
        assert serve.stop(signal.SIGTERM) == 0
        assert desk.partition("token=")[2] not in "\n".join(serve.said.splitlines()[1:])


def test_serve_does_not_print_a_desk_token_that_was_given(file: Path) -> None:
    file.write_text(LEAST.replace('type = "desk"', 'type = "desk"\ntoken = "known-to-the-operator"'), "utf-8")
    with running(file.parent, "serve", "--config", file) as serve:
        serve.line("stderr", "ready")
        assert serve.stop(signal.SIGTERM) == 0
        assert "known-to-the-operator" not in serve.said


def test_a_second_process_on_the_same_data_gets_one_sentence(file: Path) -> None:
    with running(file.parent, "serve", "--config", file) as serve:
        serve.line("stderr", "ready")
        done = ended(file.parent, "serve", "--config", file)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert f"in use by another Threadbridge process, {serve.process.pid}: stop that one, or " in done.stderr
        assert "gateway.data" in done.stderr


def test_a_second_process_on_the_same_store_gets_one_sentence_whatever_its_data_folder(file: Path) -> None:
    file.write_text(f'gateway.data = "one"\nstore.url = "sqlite:///shared/x.db"\n{LEAST}', "utf-8")
    with running(file.parent, "serve", "--config", file) as serve:
        serve.line("stderr", "ready")
        for data in ("two", "shared"):
            done = ended(file.parent, "serve", "--config", file, environ={"THREADBRIDGE__GATEWAY__DATA": data})
            assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
            assert "shared is in use by another Threadbridge process" in done.stderr


def test_what_visitors_wrote_is_for_nobody_else_on_the_machine(file: Path) -> None:
    with running(file.parent, "serve", "--config", file) as serve:
        serve.line("stderr", "ready")
        kept = [path for path in (file.parent / "data").rglob("*") if path.is_file()]
    assert {"threadbridge.db", "threadbridge.db-wal", "secret"} <= {path.name for path in kept}
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in [file.parent / "data", *kept]} == {0}


def test_a_stopped_process_leaves_its_data_to_the_next(file: Path) -> None:
    addresses = []
    for _ in range(2):
        with running(file.parent, "serve", "--config", file) as serve:
            addresses.append(serve.line("stdout", "Desk: ").partition("token=")[2])
            assert serve.stop(signal.SIGTERM) == 0
    assert addresses[0] == addresses[1]


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LEAST + "[gatway]\n", ['gatway: found an unknown key; expected "gateway" (did you mean that?)']),
        (
            LEAST.replace("port = 0", 'port = "x"'),
            ['gateway.port: found "x"; expected a whole number'],
        ),
        (
            LEAST.replace('"https://shop.example"', '"shop"'),
            ['sites.shop.origins[0]: found "shop"; expected an origin'],
        ),
        (
            LEAST + '[adapters.slack]\ntype = "slack"\nchannel = "C0123456789"\n',
            ["adapters.slack.bot_token: found nothing; expected the Bot User OAuth Token"],
        ),
        ("[sites\n", ["line 1, column 7: found expected ']' at the end of a table declaration; expected valid TOML"]),
        ("", ["adapters: found nothing; expected at least one", "sites: found nothing; expected at least one"]),
    ],
    ids=["key", "type", "value", "missing token", "syntax", "empty"],
)
@pytest.mark.parametrize("name", ["serve", "check"])
def test_a_wrong_file_is_told_line_by_line(file: Path, name: str, text: str, told: list[str]) -> None:
    file.write_text(text, "utf-8")
    done = ended(file.parent, name, "--config", file)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == len(told), lines
    for line, part in zip(lines, told, strict=True):
        assert line.startswith(f"{file}: {part}")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    done = ended(tmp_path, "serve", "--config", "none.toml")
    assert done.returncode == 2
    assert done.stderr == (
        "none.toml: file: found no such file; "
        "expected a configuration: `threadbridge init` writes one, --config FILE names another\n"
    )


@pytest.mark.parametrize("name", ["serve", "check"])
def test_without_a_name_the_file_of_the_working_directory_is_read(tmp_path: Path, name: str) -> None:
    done = ended(tmp_path, name)
    assert (done.returncode, done.stderr.startswith("config.toml: file: found no such file; ")) == (2, True)
    (tmp_path / "config.toml").write_text("[gatway]\n" + LEAST, "utf-8")
    done = ended(tmp_path, name)
    assert (done.returncode, done.stderr.startswith("config.toml: gatway: found an unknown key")) == (2, True)


def test_a_variable_that_is_wrong_is_told_by_its_name(file: Path) -> None:
    done = ended(file.parent, "serve", "--config", file, environ={"THREADBRIDGE__GATEWAY__PORT": "abc"})
    assert done.returncode == 2
    assert done.stderr.startswith('environment: THREADBRIDGE__GATEWAY__PORT: found "abc"; expected a whole number')


def test_a_port_in_use_is_told(file: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = ended(file.parent, "serve", "--config", file, environ={"THREADBRIDGE__GATEWAY__PORT": port})
    assert done.returncode == 1
    assert done.stderr == f"The gateway cannot listen on 127.0.0.1:{port}: Address already in use. {ELSEWHERE}\n"


def test_a_data_folder_that_cannot_be_written_is_told(file: Path) -> None:
    (file.parent / "data").write_text("not a folder")  # holds for root as well, whom no mode stops
    done = ended(file.parent, "serve", "--config", file)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("The data folder 'data' cannot be written: ")


def test_a_data_folder_that_is_no_path_is_told(file: Path) -> None:
    file.write_text(f'gateway.data = "a\\u0000b"\n{LEAST}', "utf-8")
    done = ended(file.parent, "serve", "--config", file)
    assert (done.returncode, done.stderr) == (1, "The data folder 'a\\x00b' cannot be written: embedded null byte.\n")


@pytest.mark.parametrize("host", ["a..b", "no such host", "\0", "203.0.113.7"])
def test_an_address_that_is_not_ours_is_told(file: Path, host: str) -> None:
    file.write_text(f"gateway.host = {json.dumps(host)}\n{LEAST}", "utf-8")
    done = ended(file.parent, "serve", "--config", file)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("The gateway cannot listen on ")


@pytest.mark.parametrize("name", ["secret", "desk-token"])
def test_a_secret_that_cannot_be_read_is_told(file: Path, name: str) -> None:
    (file.parent / "data" / name).mkdir(parents=True)
    done = ended(file.parent, "serve", "--config", file)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert f"cannot be kept in data/{name}: " in done.stderr


def test_a_secret_that_a_crash_left_empty_is_made_anew(file: Path) -> None:
    secret = file.parent / "data/secret"
    secret.parent.mkdir()
    secret.touch()
    with running(file.parent, "serve", "--config", file) as serve:
        serve.line("stderr", "ready")
        assert serve.stop(signal.SIGTERM) == 0
    assert len(secret.read_text()) > 30
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_database_that_is_none_is_told(file: Path) -> None:
    data = file.parent / "data"
    data.mkdir()
    (data / "threadbridge.db").write_bytes(b"this is not a database" * 100)
    done = ended(file.parent, "serve", "--config", file)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_of_what_is_well(file: Path) -> None:
    done = ended(file.parent, "check", "--config", file)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{file}: ok\nadapters.desk: ok: there is nothing to check\n"
    assert not (file.parent / "data").exists()


def test_check_of_a_platform_that_cannot_be_reached_says_what_to_do(file: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    secret = "123456789:AAabcdefghijklmnopqrstuvwxyz0123456"
    more = (
        f'[adapters.tg]\ntype = "telegram"\ntoken = "{secret}"\nchat_id = -1001\napi_url = "http://127.0.0.1:{port}"\n'
    )
    file.write_text(LEAST + more, "utf-8")
    done = ended(file.parent, "check", "--config", file)
    assert done.returncode == 1
    failed = done.stdout.splitlines().index(next(line for line in done.stdout.splitlines() if "FAILED" in line))
    assert done.stdout.splitlines()[failed].startswith("adapters.tg: FAILED: ")
    assert done.stdout.splitlines()[failed + 1].startswith("    ")
    assert secret not in done.stdout + done.stderr


# --- init -------------------------------------------------------------------------------------------------------------


def test_init_writes_what_check_accepts(tmp_path: Path) -> None:
    done = ended(tmp_path, "init", "--yes")
    assert done.returncode == 0
    tag = '<script async src="http://127.0.0.1:8080/widget.js" data-site="shop"></script>'
    assert [line.strip() for line in done.stdout.splitlines() if line.startswith("    ")] == [
        tag, "threadbridge check", "threadbridge serve",
    ]  # fmt: skip
    assert "[sites.shop]" in (tmp_path / "config.toml").read_text("utf-8")
    assert stat.S_IMODE((tmp_path / "config.toml").stat().st_mode) == 0o600
    assert ended(tmp_path, "check", "--config", "config.toml").returncode == 0


def test_init_asks_what_the_platform_needs(tmp_path: Path) -> None:
    answers = [
        "telegraph", "telegram", "rubbish", "123456789:AAx", "-1001234567890",
        "shop.example", "https://shop.example/path", "https://shop.example/", 'The "Shop"',
        "chat.example", "https://chat.example/",
    ]  # fmt: skip
    done = ended(tmp_path, "init", "mine.toml", typed="\n".join(answers) + "\n")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for needed in (
        "one of desk, ", "a bot's token as @BotFather", 'an origin such as "https://shop.example"',
        '"https://shop.example": an origin ends', 'an origin such as "https://chat.example.com"',
    ):  # fmt: skip
        assert f"  Needed is {needed}" in done.stdout
    assert '<script async src="https://chat.example/widget.js" data-site="shop"></script>' in done.stdout
    assert "threadbridge serve --config mine.toml" in done.stdout
    assert (
        ended(tmp_path, "check", "--config", "mine.toml", environ={"HTTPS_PROXY": "http://127.0.0.1:1"}).returncode == 1
    )
    text = (tmp_path / "mine.toml").read_text("utf-8")
    for part in ('type = "telegram"', 'token = "123456789:AAx"', 'origins = ["https://shop.example"]', r"\"Shop\""):
        assert part in text


@pytest.mark.parametrize("proof", [["xapp-1"], ["", "", "0123456789abcdef"]], ids=["socket mode", "events over http"])
def test_init_asks_slacks_tokens_in_the_order_of_its_guide(tmp_path: Path, proof: list[str]) -> None:
    site = ["https://shop.example", "Shop", ""]
    answers = ["slack", "xoxb-1", proof[0], "C0123456789", *proof[1:], *site]
    done = ended(tmp_path, "init", typed="\n".join(answers) + "\n")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.index("xoxb-...") < done.stdout.index("xapp-...") < done.stdout.index("C0123456789:")
    text = (tmp_path / "config.toml").read_text("utf-8")
    assert f'= "{proof[-1]}"' in text
    assert "api_url" not in text


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("precious")
    done = ended(tmp_path, "init", "--yes")
    assert (done.returncode, done.stderr) == (1, "There is a file config.toml already; nothing was changed.\n")
    assert (tmp_path / "config.toml").read_text() == "precious"


def test_init_that_is_broken_off_writes_nothing(tmp_path: Path) -> None:
    done = ended(tmp_path, "init", typed="telegram\n")
    assert done.returncode == 1
    assert done.stderr.split()[-1] == "Aborted!"
    assert not (tmp_path / "config.toml").exists()


def test_version(tmp_path: Path) -> None:
    done = ended(tmp_path, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("threadbridge 0.")
