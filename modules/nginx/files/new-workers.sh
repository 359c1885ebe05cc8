# A reload that nginx cannot carry out, because somebody else has its port, ends well all the same: it goes on with its old
# workers. And one that it can goes on in the background, where the old workers answer for a moment more. So this waits until
# there are new workers, and none of the old ones takes a request.
systemctl --quiet is-active nginx || exit 0
master=$(cat /run/nginx.pid) || exit
working() {
    for process in /proc/[0-9]*; do
        { read -r pid name state parent rest <"$process/stat"; } 2>/dev/null && [ "$parent" = "$master" ] || continue
        case $(tr '\0' ' ' <"$process/cmdline" 2>/dev/null) in "nginx: worker process "*shutting*) ;; "nginx: worker process"*) printf '%s ' "$pid" ;; esac
    done
}
old=" $(working)"
systemctl reload nginx || exit
for turn in $(seq 600); do
    new='' left=''
    for pid in $(working); do
        case $old in *" $pid "*) left=1 ;; *) new=1 ;; esac
    done
    [ -n "$new" ] && [ -z "$left" ] && exit 0
    [ -z "$new" ] && [ "$turn" -gt 100 ] && break
    sleep 0.1
done
echo "nginx goes on with what it read before; the end of $ERROR_LOG:"
tail -n 5 "$ERROR_LOG"
exit 1
