#!/bin/sh
# Tags a photo with clip-worker, with redis-cli alone. Prints the result as Celery stores it.
#   sh classify.sh cat.jpg '["cat", "dog"]'                       a file
#   sh classify.sh https://example.org/cat.jpg '["cat", "dog"]'   a URI
#   sh classify.sh cat.jpg '["cat", "dog"]' '"score": "sigmoid"'  further arguments of the task
# SIGNING_KEY is the first of the workers' CLIP_WORKER_SIGNING_KEYS, if they have any; needs openssl.
set -eu
photo=$1 labels=$2 further=${3-}
max_bytes=1000000 # of a file; in its message it takes 1.8 times as much
max_waiting=500   # messages in the queue
expires_s=60      # a photo that waits longer fails instead of running

redis() { redis-cli -u "${REDIS_URL:-redis://localhost:6379/0}" "$@"; }
fail() { echo "$*" >&2; exit 1; }

id=$(cat /proc/sys/kernel/random/uuid)
deadline=$(($(date +%s) + expires_s))

uri() {
    case $photo in
    *:*) printf %s "$photo" ;;
    *) printf 'data:;base64,%s' "$(base64 -w 0 "$photo")" ;;
    esac
}

# [args, kwargs, callbacks and the like]. A URI needs no escapes in JSON: quotes are %22 in it.
body() {
    printf '[[], {"image": "%s", "labels": %s, "k": 3, "deadline": %s%s}, {}]' \
        "$(uri)" "$labels" "$deadline" "${further:+, $further}"
}

sha256() { openssl dgst -sha256 -r "$@" | cut -d ' ' -f 1; }

# The header `clip_signature`: the time, the queue, the body's hash and the headers, and their HMAC.
signature() {
    [ -n "${SIGNING_KEY-}" ] || return 0
    signed=$(printf '{"at": %s, "queue": "clip", "sha256": "%s", ' "$(date +%s)" "$(body | sha256)"
        printf '"headers": {"task": "clip.classify", "id": "%s"}}' "$id")
    printf ', "clip_signature": {"key": "%s", "signed": "%s", "mac": "%s"}' \
        "$(printf %s "$SIGNING_KEY" | sha256 | cut -c 1-8)" \
        "$(printf %s "$signed" | sed 's/"/\\"/g')" \
        "$(printf %s "$signed" | sha256 -mac HMAC -macopt "hexkey:$SIGNING_KEY")"
}

message() {
    printf '{"body": "%s", "content-type": "application/json", "content-encoding": "utf-8", ' \
        "$(body | base64 -w 0)"
    printf '"headers": {"task": "clip.classify", "id": "%s"%s}, ' "$id" "$(signature)"
    printf '"properties": {"body_encoding": "base64", "delivery_tag": "%s", ' "$id"
    printf '"delivery_info": {"exchange": "", "routing_key": "clip"}}}'
}

case $photo in
*:*) ;;
*) [ "$(wc -c <"$photo")" -le $max_bytes ] || fail "$photo has more than $max_bytes bytes" ;;
esac
[ "$(redis LLEN clip)" -lt $max_waiting ] || fail "Many photos are waiting; try again later."
message | redis -x LPUSH clip >/dev/null

while [ "$(date +%s)" -le $((deadline + expires_s)) ]; do
    result=$(redis GET "celery-task-meta-$id")
    case $result in
    '{"status": "SUCCESS"'*) echo "$result" && exit ;;
    ?*) fail "$result" ;;
    esac
    sleep 0.2
done
fail "There is no result; is a worker running?"
