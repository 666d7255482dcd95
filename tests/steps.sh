# What the shell scripts of the tests share. `log` names the file that keeps what a step prints.

# Says what is being done, keeps what it prints, and shows the end of that if a command of it fails. It runs in a shell of its
# own, without an `if`, since bash would go on after a failure in there.
step() {
    local title=$1 began=$SECONDS code
    shift
    set +e
    (set -e; "$@") >"$log" 2>&1
    code=$?
    set -e
    if [ $code = 0 ]; then
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
    [ ${#missing[@]} = 0 ] && return 0
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
}
