# `systemctl reload` succeeds even if nginx cannot reload, for example because another program has its port: nginx then keeps
# its old workers. A successful reload continues in the background, and the old workers answer for a moment more. So this waits
# until there are new workers, and no old worker takes a request.
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
echo "nginx keeps its old configuration; the end of $ERROR_LOG:"
tail -n 5 "$ERROR_LOG"
exit 1
