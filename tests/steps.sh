# What the shell scripts of the tests share. `log` names the file that keeps what a step prints.

# Says what is being done, keeps what it prints, and shows the end of that if it fails.
step() {
    local title=$1 began=$SECONDS
    shift
    if "$@" >"$log" 2>&1; then
        echo "done    $title ($((SECONDS - began)) s)"
    else
        echo "FAILED  $title; the last lines of $log:"
        tail -n 30 "$log"
        exit 1
    fi
}

# need PACKAGE=COMMAND ...: Debian's packages of those commands that are missing.
need() {
    local missing=() pair
    for pair in "$@"; do
        command -v "${pair#*=}" >/dev/null || missing+=("${pair%%=*}")
    done
    [ ${#missing[@]} = 0 ] && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
}
