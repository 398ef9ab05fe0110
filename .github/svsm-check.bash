# SPDX-License-Identifier: GPL-2.0-or-later
# For the steps of action.yml. Sets `failed`; RUNS is the directory for the files of each run.
# Where action.yml installs the harness.
PATH="$RUNNER_TEMP/snp-harness/bin:$PATH"
mkdir -p "$RUNS"
failed=0

annotate() { # annotate TITLE TEXT: on GitHub, an error on the job's page
    local title=${1//,/%2C} text=${2//'%'/%25}
    printf '::error title=%s::%s\n' "${title//:/%3A}" "${text//$'\r'/%0D}"
}

check() { # check NAME COMMAND...: run a command of the harness, annotate what failed, add a row to the summary
    local name=$1 start=$SECONDS status=0 headline point
    local run="$RUNS/${1//[^A-Za-z0-9]/-}"
    shift
    "$@" --quiet --out "$run" > "$run.txt" 2>&1 || status=$?
    printf '::group::%s\n%s\n::endgroup::\n' "$name" "$(cat "$run.txt")"
    headline=$(head -n 1 "$run.txt")
    printf '| %s | %s | %s | %s s |\n' "$([ $status = 0 ] && echo passed || echo "**failed** ($status)")" \
        "$name" "${headline//|/\\|}" $((SECONDS - start)) >> "$GITHUB_STEP_SUMMARY"
    [ $status != 0 ] || return 0
    failed=1
    annotate "$name" "$headline (exit status $status)"
    [ -e "$run/results.tap" ] || return 0
    # Ten errors of a step are shown.
    sed -n '/# TODO/!s/^not ok [0-9]* *-* *//p' "$run/results.tap" | head -n 9 | while IFS= read -r point; do
        annotate "$name" "$point"
    done || true # sed has more than head reads
}

[ -s "$GITHUB_STEP_SUMMARY" ] || printf '| result | check | first line | time |\n|---|---|---|---|\n' >> "$GITHUB_STEP_SUMMARY"
