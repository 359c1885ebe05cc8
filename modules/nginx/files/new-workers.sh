# A reload that nginx cannot carry out, because somebody else has its port, ends well all the same: it goes on with its old
# workers. So it is reloaded once more, and must have new ones.
master=$(cat /run/nginx.pid) || exit
children() {
    for stat in /proc/[0-9]*/stat; do
        { read -r pid name state parent rest <"$stat"; } 2>/dev/null && [ "$parent" = "$master" ] && printf '%s ' "$pid"
    done
}
old=" $(children)"
systemctl reload nginx || exit
for _ in $(seq 100); do
    for pid in $(children); do
        case $old in *" $pid "*) ;; *) exit 0 ;; esac
    done
    sleep 0.1
done
echo "nginx goes on with what it read before; the end of $ERROR_LOG:"
tail -n 5 "$ERROR_LOG"
exit 1
