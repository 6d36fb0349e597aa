#!/usr/bin/env bash
# A real Slurm of one's own on one Debian machine, for tests and for trying `curate run --on slurm`. Needs root, no systemd.
#
#   scripts/slurm_cluster.sh up       install what is missing (slurm-wlm, munge), start, wait until every node is idle
#   scripts/slurm_cluster.sh status   what runs; exit 0 if all of it does, 3 if not
#   scripts/slurm_cluster.sh down     cancel the jobs and stop what `up` started, nothing else
#
# Nodes cpu1, cpu2, cpu3 in partition `cpu` and gpu1 in `gpu`, whose two GPUs are a pretence: files that Slurm counts. Each
# node is a slurmd on this host (Debian builds with --enable-multiple-slurmd) with a port, a spool and a temporary folder
# ($TMPDIR of its jobs) of its own. All daemons listen on loopback. Everything lies below CURATE_SLURM_ROOT
# (/var/lib/curate-slurm); CURATE_SLURM_PORT (26817) is the first of six ports, CURATE_SLURM_MAX_ARRAY (1001) the cluster's
# MaxArraySize. Commands find the cluster through the SLURM_CONF that `up` prints, or through /etc/slurm where that is free.
set -euo pipefail
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH

root=${CURATE_SLURM_ROOT:-/var/lib/curate-slurm}
port=${CURATE_SLURM_PORT:-26817}
max_array=${CURATE_SLURM_MAX_ARRAY:-1001}
nodes=(cpu1 cpu2 cpu3 gpu1)
cpus=2        # that each node claims, whatever the machine has
patience=60   # seconds for every node to become idle
export SLURM_CONF=$root/slurm.conf

say() { echo "slurm_cluster: $*" >&2; }

# running NAME PROGRAM: the process in NAME's pid file lives and is that program. After a reboot the number may be
# somebody else's, so the program is compared.
running() {
    local pid
    pid=$(cat "$root/run/$1.pid" 2>/dev/null) || return 1
    [[ $pid =~ ^[0-9]+$ && $(readlink "/proc/$pid/exe" 2>/dev/null) == "$(readlink -f "$(command -v "$2")")" ]]
}

halt() { # NAME PROGRAM
    local pid
    if command -v "$2" >/dev/null && running "$1" "$2"; then
        pid=$(<"$root/run/$1.pid")
        kill "$pid" 2>/dev/null || true
        for _ in {1..100}; do running "$1" "$2" || break; sleep 0.1; done
        if running "$1" "$2"; then kill -KILL "$pid" 2>/dev/null || true; fi
    fi
    rm -f "$root/run/$1.pid"
}

install_packages() {
    local missing=() policy=/usr/sbin/policy-rc.d ours="" log
    command -v munged >/dev/null || missing+=(munge)
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v sbatch >/dev/null || missing+=(slurm-wlm)
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || { say "apt-get is not here: this needs Debian"; exit 1; }
    say "installing ${missing[*]}"
    # The packages bring services of their own, which must not start: a policy for as long as the installation takes.
    if [[ ! -e $policy ]]; then printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; ours=1; fi
    log=$(mktemp)
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        say "the packages cannot be installed"
        [[ -z $ours ]] || rm -f "$policy"
        exit 1
    fi
    rm -f "$log"
    [[ -z $ours ]] || rm -f "$policy"
}

write_configuration() { # to $1
    local memory node number=0
    memory=$(awk '/^MemTotal/ { print int($2 / 1024 * 0.9 / 4) }' /proc/meminfo)
    cat <<CONF >"$1/slurm.conf"
ClusterName=curate
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
# listen on the address each daemon is known by, which is loopback
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
CredType=cred/munge
# a requeued job may start again when its old credential has expired; 120 s unless told
AuthInfo=socket=$root/run/munge.socket,cred_expire=5
StateSaveLocation=$root/state
SlurmdSpoolDir=$root/spool/%n
SlurmctldPidFile=$root/run/slurmctld.pid
SlurmdPidFile=$root/run/slurmd-%n.pid
SlurmctldLogFile=$root/log/slurmctld.log
SlurmdLogFile=$root/log/slurmd-%n.log
TaskProlog=$root/task_prolog.sh
# no cgroups: children are found in /proc, memory is looked at every two seconds instead of fenced
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
PropagateResourceLimits=NONE
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=256
# nodes may claim more than the machine has
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
MaxArraySize=$max_array
MaxJobCount=20000
JobRequeue=1
KillWait=3
MinJobAge=3600
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=20
MessageTimeout=5
GresTypes=gpu
CONF
    : >"$1/gres.conf"
    for node in "${nodes[@]}"; do
        number=$((number + 1))
        local gres=""
        if [[ $node == gpu* ]]; then
            gres=" Gres=gpu:2"
            echo "NodeName=$node Name=gpu File=$root/gpu/nvidia[0-1]" >>"$1/gres.conf"
        fi
        echo "NodeName=$node NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + number)) CPUs=$cpus" \
            "RealMemory=$memory$gres State=UNKNOWN" >>"$1/slurm.conf"
    done
    cat <<CONF >>"$1/slurm.conf"
PartitionName=cpu Nodes=cpu[1-3] Default=YES LLN=YES DefaultTime=60 MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=gpu1 DefaultTime=60 MaxTime=INFINITE State=UP
CONF
    # Nodes of a cluster do not share /tmp; these do, so each gives its jobs a folder of its own.
    printf '#!/bin/sh\necho "export TMPDIR=%s/tmp/$SLURMD_NODENAME"\n' "$root" >"$1/task_prolog.sh"
    chmod +x "$1/task_prolog.sh"
}

configure() {
    local node file draft
    install -d "$root" "$root/run" "$root/log" "$root/state" "$root/spool" "$root/gpu" "$root/tmp"
    install -d -m 700 "$root/munge"
    for node in "${nodes[@]}"; do install -d "$root/spool/$node"; install -d -m 1777 "$root/tmp/$node"; done
    for file in "$root"/gpu/nvidia{0,1}; do
        [[ -e $file ]] || mknod "$file" c 1 3 2>/dev/null || : >"$file"
    done
    # a key and a socket of its own: a munge of the machine is left alone
    [[ -s $root/munge/key ]] || (umask 077; head -c 1024 /dev/urandom >"$root/munge/key")
    draft=$(mktemp -d)
    write_configuration "$draft"
    if [[ -e $root/slurm.conf ]] && ! cmp -s "$draft/slurm.conf" "$root/slurm.conf"; then
        say "the configuration is another one now: stopping what runs"
        stop_all
        rm -rf "${root:?}/state"
        install -d "$root/state"
    fi
    for file in slurm.conf gres.conf task_prolog.sh; do mv "$draft/$file" "$root/$file"; done
    rmdir "$draft"
    install -d /etc/slurm
    for file in slurm.conf gres.conf; do
        if [[ ! -e /etc/slurm/$file && ! -L /etc/slurm/$file ]]; then ln -s "$root/$file" "/etc/slurm/$file"; fi
    done
    if ! getent hosts "$(hostname -s)" >/dev/null; then # munge and the controller look themselves up
        echo "127.0.0.1 $(hostname -s) # $root" >>/etc/hosts
    fi
}

start_all() {
    local node
    if ! running munged munged; then
        rm -f "$root"/run/munge*
        munged --key-file="$root/munge/key" --socket="$root/run/munge.socket" --pid-file="$root/run/munged.pid" \
            --log-file="$root/munge/munged.log" --seed-file="$root/munge/seed" </dev/null >/dev/null
    fi
    if ! running slurmctld slurmctld; then
        rm -f "$root/run/slurmctld.pid"
        slurmctld </dev/null >/dev/null 2>&1
    fi
    for node in "${nodes[@]}"; do
        if ! running "slurmd-$node" slurmd; then
            rm -f "$root/run/slurmd-$node.pid"
            slurmd -N "$node" </dev/null >/dev/null 2>&1
        fi
    done
}

ready() { # every node answers: no `*`, not down, not unknown
    local states
    states=$(timeout 15 sinfo -h -N -o %T 2>/dev/null) || return 1
    [[ $(wc -l <<<"$states") == "${#nodes[@]}" ]] && ! grep -qvE '^(idle|mixed|allocated|completing)$' <<<"$states"
}

stop_all() {
    local node
    if [[ -d $root/run ]]; then
        if running slurmctld slurmctld; then # jobs first: they would outlive the daemons
            timeout 15 scancel --full --state=PENDING,RUNNING,SUSPENDED -u "$(id -un)" 2>/dev/null || true
            for _ in {1..40}; do [[ $(timeout 5 squeue -h 2>/dev/null) ]] || break; sleep 0.25; done
        fi
        for node in "${nodes[@]}"; do halt "slurmd-$node" slurmd; done
        halt slurmctld slurmctld
        halt munged munged
    fi
}

case ${1:-} in
up)
    [[ $(id -u) == 0 ]] || { say "this needs root"; exit 1; }
    install_packages
    configure
    start_all
    for ((waited = 0; waited < 2 * patience; waited++)); do
        if ready; then break; fi
        sleep 0.5
    done
    if ! ready; then
        sinfo -N -l >&2 || true
        tail -n 5 "$root"/log/*.log >&2 || true
        say "not every node is idle after $patience s"
        exit 1
    fi
    sinfo -N -o '%N %P %T %c %m %G' >&2
    echo "export SLURM_CONF=$SLURM_CONF"
    ;;
status)
    result=0
    for name in munged slurmctld "${nodes[@]/#/slurmd-}"; do
        if command -v "${name%%-*}" >/dev/null && running "$name" "${name%%-*}"; then
            echo "$name runs, process $(<"$root/run/$name.pid")"
        else
            echo "$name does not run"
            result=3
        fi
    done
    exit "$result"
    ;;
down)
    stop_all
    for file in slurm.conf gres.conf; do
        if [[ $(readlink "/etc/slurm/$file" 2>/dev/null) == "$root/$file" ]]; then rm "/etc/slurm/$file"; fi
    done
    if grep -qF "# $root" /etc/hosts; then
        others=$(grep -vF "# $root" /etc/hosts)
        echo "$others" >/etc/hosts # in place: in a container the file is mounted
    fi
    ;;
*)
    sed -n '2,6p' "$0" | cut -c3- >&2
    exit 2
    ;;
esac
