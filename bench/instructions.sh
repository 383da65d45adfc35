#!/bin/bash
# Instructions per command of the server's user-space path, counted by callgrind. See bench/src/bin/instructions/main.rs.
#
#   bench/instructions.sh                    measures and prints the table
#   bench/instructions.sh --record           also writes it to bench/instructions.md
#   bench/instructions.sh --check            fails when a figure is more than 5 % above bench/instructions.md
#   bench/instructions.sh --functions get-hit [--pipeline 1 ...]   where the instructions of one case go
set -euo pipefail
cd "$(dirname "$0")/.."

record=bench/instructions.md
growth_max=5   # percent
cases=(
    "GET hit, 8 bytes|get-hit --value-size 8"
    "GET hit, 256 bytes|get-hit --value-size 256"
    "GET miss|get-miss"
    "SET overwrite, 8 bytes|set-overwrite --value-size 8"
    "SET overwrite, 256 bytes|set-overwrite --value-size 256"
    "SET new, 8 bytes|set-new --value-size 8"
    "SET new, 256 bytes|set-new --value-size 256"
    "INCR|incr"
    "GET hit, 256 bytes, 2 executors, own key|get-hit --value-size 256 --executors 2"
    "SET overwrite, 256 bytes, 2 executors, own key|set-overwrite --value-size 256 --executors 2"
)
pipelines=(16 1)

fail() {
    echo "bench/instructions.sh: $*" >&2
    exit 1
}

command -v valgrind >/dev/null || fail "valgrind is not installed: apt-get install valgrind"
case "${1-}" in
    "" | --record | --functions) ;;
    --check) [ -f "$record" ] || fail "$record is missing: write it with --record" ;;
    *) fail "unknown flag $1: --record, --check or --functions CASE" ;;
esac

cargo build --release --quiet -p kora-bench --bin instructions
binary=${CARGO_TARGET_DIR:-target}/release/instructions
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Runs one case under callgrind; the profile is in $work/profile, the number of commands in $work/commands.
count() {
    valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*instructions::measured*' \
        --callgrind-out-file="$work/profile" "$binary" "$@" >"$work/commands" 2>"$work/log" ||
        { cat "$work/log" >&2; fail "the case '$*' failed"; }
}

if [ "${1-}" = --functions ]; then
    shift
    [ $# -gt 0 ] || fail "--functions needs a case: get-hit, get-miss, set-overwrite, set-new or incr"
    count "$@"
    echo "commands: $(cat "$work/commands")"
    echo "== inclusive"
    callgrind_annotate --inclusive=yes "$work/profile" | head -60
    echo "== exclusive, inlined code by its source file"
    callgrind_annotate "$work/profile" | head -80
    exit
fi

# Name, then one figure per depth of pipeline.
for row in "${cases[@]}"; do
    figures=
    for pipeline in "${pipelines[@]}"; do
        # The arguments are several words.
        # shellcheck disable=SC2086
        count ${row#*|} --pipeline "$pipeline"
        total=$(awk '$1 == "totals:" { print $2 }' "$work/profile")
        commands=$(cat "$work/commands")
        [ "${total:-0}" -gt 0 ] || fail "callgrind has counted nothing: is 'measured' still a function of its own?"
        figures+="| $(((total + commands / 2) / commands)) "
    done
    echo "| ${row%%|*} $figures|"
done | tee "$work/rows"

table() {
    cat <<TEXT
# Instructions per command

What one command costs in user space, counted by callgrind: from the received bytes to the built send, without the kernel, on the
release profile. $(rustc --version | cut -d' ' -f1-2), mimalloc, 100,000 keys of 16 bytes, 100,000 commands counted, each key once.
Pipeline 16: one receive brings 16 commands and one send takes their replies away; pipeline 1: every command has a receive and a
send of its own. "SET new" doubles the table, so it contains the table's growth.

    bench/instructions.sh            # measures again
    bench/instructions.sh --check    # fails when a figure has grown by more than $growth_max %
    bench/instructions.sh --record   # writes this file

The same binary on the same kind of processor gives the same figures; the C library chooses its memcpy by the processor.

| command | pipeline 16 | pipeline 1 |
|---|---|---|
TEXT
    cat "$work/rows"
}

case "${1-}" in
    --record)
        table >"$record"
        echo "written to $record"
        ;;
    --check)
        awk -F' *[|] *' -v growth_max=$growth_max -v record="$record" '
            NR == FNR { if (NF == 5 && $3 ~ /^[0-9]+$/) { first[$2] = $3; second[$2] = $4 }; next }
            !($2 in first) { print $2 ": not in " record; bad = 1; next }
            {
                seen[$2] = 1
                split("16 1", pipeline, " ")
                was[1] = first[$2]; was[2] = second[$2]; is[1] = $3; is[2] = $4
                for (i = 1; i <= 2; i++) if (is[i] * 100 > was[i] * (100 + growth_max)) {
                    printf "%s, pipeline %s: %d instructions, recorded are %d (+%.1f %%)\n", $2, pipeline[i], is[i], was[i], (is[i] / was[i] - 1) * 100
                    bad = 1
                }
            }
            END {
                for (name in first) if (!(name in seen)) { print name ": recorded, but not measured"; bad = 1 }
                exit bad
            }' "$record" "$work/rows" >&2 ||
            fail "a command takes more instructions than recorded: make it cheaper, or say why and run --record"
        echo "no figure is more than $growth_max % above $record"
        ;;
esac
