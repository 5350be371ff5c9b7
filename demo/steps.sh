# For scripts/demo and demo/smollm2/run, which source it in the clone's root: a folder for all outputs, and commands that are shown.
# run takes a program of the folder $programs.

# On a laptop with other load, LibTorch's threads should sleep, not spin, while they wait for each other.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

# Escape codes are for a terminal.
bold='' dim='' plain=''
if [[ -t 2 ]]; then bold=$'\033[1m' dim=$'\033[2m' plain=$'\033[0m'; fi
say() { printf '\n%s\n' "$bold$*$plain" >&2; }
show() {
    printf '%s\n' "$dim\$ $*$plain" >&2
    "$@"
}
run() {
    printf '%s\n' "$dim\$ $*$plain" >&2
    "$programs/$1" "${@:2}"
}

# Only an earlier demo's output is removed, never another folder.
may_replace() {
    if [[ -e $1 && ! -f $1/.hayloft-demo ]] && [[ ! -d $1 || -n $(ls -A "$1") ]]; then
        echo "error: $1: expected an earlier demo's folder or none, found other files. Remove it, or use another --out" >&2
        exit 1
    fi
}
replace() {
    rm -rf "$1"
    mkdir -p "$1"
    touch "$1/.hayloft-demo"
}
