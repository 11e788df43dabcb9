#!/bin/sh
# test_tune.sh CLATTN_TUNE CLATTN_RUN CLATTN_INFO MAKE_SAFETENSORS READ_JSON: the tuner from outside.
# What a driver may do to a child process, a child that is a shell script does here: it crashes,
# hangs, lies, and kills or interrupts its parent.  One run has a true child.
# CLATTN_TEST_DEVICE chooses the device, as in the other tests.
set -u
tune=$1 run=$2 info=$3 make=$4 json=$5
device=${CLATTN_TEST_DEVICE:-0}
export tune device # for children
here=$(mktemp -d "$PWD/test_tune-XXXXXX")
trap 'rm -rf "$here"' EXIT
trap 'exit 1' INT TERM
cd "$here" || exit 1
failures=0
problem="f32 h2 q128 d32"

complain() {
    failures=$((failures + 1))
    echo "FAILED: $*"
    sed 's/^/    /' err.txt
}

# expect CODE WHAT ARGUMENT...: runs the tuner.
expect() {
    code=$1 what=$2
    shift 2
    got=0
    "$tune" --device "$device" "$@" >out.txt 2>err.txt || got=$?
    [ $got -eq "$code" ] || complain "$what: exit code $got, not $code: $(cat out.txt)"
}
says() { grep -q -e "$1" err.txt || complain "$what: stderr lacks '$1'"; }
prints() { grep -q -e "$1" out.txt || complain "$what: stdout lacks '$1': $(cat out.txt)"; }
lines() { [ "$(wc -l <"$1")" -eq "$2" ] || complain "$what: $(wc -l <"$1") lines in $1, not $2"; }

# The table's figure number $1: 1 candidates, 2 tried, 3 refused, 4 wrong, 5 crashed, 6 timeout.
figure() { sed -n "s/^$problem //p" out.txt | awk -v at="$1" '{ print $(NF - 6 + at) }'; }
counts() {
    got="$(figure 3) $(figure 4) $(figure 5) $(figure 6)"
    [ "$got" = "$1" ] || complain "$what: refused, wrong, crashed, timeout are $got, not $1: $(cat out.txt)"
}
# No candidate stands twice in a journal.
once() {
    twice=$(sed -n 's/.*"variant":"\([^"]*\)".*/\1/p' "$1" | sort | uniq -d)
    [ -z "$twice" ] || complain "$what: tried twice: $twice"
}

# fake NAME <BODY: a child.  BODY runs for each request, with its kind in $kind, its number, counted
# over all children, in $n, and the rest in $rest; ok SECONDS answers.
fake() {
    cat >"$1" <<'END'
#!/bin/sh
ok() { echo begin; echo "ok $1:$1:$1:3:1:1e-7:1e-6"; }
match() { # the first one takes twice as long as the others
    echo begin
    answer='ok 2e-4:2e-4:2e-4:9:1:1e-7:1e-6'
    rest=${rest#*;}
    while [ "$rest" != "${rest#*;}" ]; do
        rest=${rest#*;}
        answer="$answer 1e-4:1e-4:1e-4:9:1:1e-7:1e-6"
    done
    echo "$answer"
}
confirm() { echo begin; echo 'ok 1e-4:1e-4:1e-4:9:1:1e-7:1e-6 2e-4:2e-4:2e-4:9:1:1e-7:1e-6'; }
echo ready
while read -r kind seconds rest; do
    n=$(($(cat count 2>/dev/null || echo 0) + 1))
    echo $n >count
END
    cat >>"$1"
    echo 'done' >>"$1"
    chmod +x "$1"
    rm -f count
}
usual='case $kind in match) match ;; confirm) confirm ;; *) ok 1e-3 ;; esac'

echo "== options"
expect 2 'no problem'
says 'there is no problem'
expect 2 'no problem text' "f32 q1"
says 'd is missing'
expect 2 'a wrong budget' --budget 0 "$problem"
expect 2 'a wrong seed' --seed -1 "$problem"
expect 2 'both passes' "$problem fwd+bwd"
says 'is two problems'
expect 2 '--check and a problem' --check t.txt "$problem"
expect 0 '--help' --help
prints 'Exit code: 0 done'
! grep -q child-program out.txt || complain "--help shows what is for tests alone"
expect 4 'no such device' --device 'no such device' "$problem"
expect 1 'a log that is not there' --from-log missing.log
printf 'f32 q16 d8\nf32 nonsense\n' >wrong.log
expect 1 'a log with a wrong line' --from-log wrong.log
says "wrong.log:2: 'f32 nonsense' is not a problem"
expect 5 'no child' --child-program ./missing "$problem"
says 'cannot be started'
printf '#!/bin/sh\nexit 3\n' >ends && chmod +x ends
expect 5 'a child that ends at once' --child-program ./ends "$problem"
says 'ends before it is ready'
expect 5 '/dev/full to write' -o /dev/full "$problem"
says '/dev/full cannot be written'
expect 5 '/dev/full as journal' --journal /dev/full "$problem"
says 'the journal /dev/full'

echo "== children that misbehave"
fake bad <<'END'
case $n in
2) kill -SEGV $$ ;;
3) sleep 100 ;;
4) echo 'ok the fastest of all' ;;
5) echo begin; echo 'ok 1e3:1e3:1e3:31:1:1e-7:1e-6' ;;
6) echo 'wrong on f32 q7 d8: error 1, bound 0.1' ;;
7) echo 'refused it does not fit' ;;
8) echo begin; sleep 0.3; echo 'ok 1e-9:1e-9:1e-9:3:1:1e-7:1e-6' ;;
9) exit 0 ;;
10) yes | tr -d '\n' ;;
11) echo 'ok 1e-3:nan:1e-3:3:1:1e-7:1e-6' ;;
12) echo begin; echo 'ok -' ;;
13) echo 'ok 1e-3:1e-3:1e-3:3:1:1e-7:1e-6 1e-3:1e-3:1e-3:3:1:1e-7:1e-6' ;;
*) case $kind in match) match ;; confirm) confirm ;; *) ok 1e-3 ;; esac ;;
esac
END
expect 0 'bad children' --child-program ./bad --limit 1 -o bad.txt "$problem"
counts '1 3 7 1'
lines bad.txt.journal $(($(figure 2) + 2)) # the candidates and two comparisons
once bad.txt.journal
for why in 'signal 11' 'no answer within 1 s' 'answers nonsense' 'took 3.1e+04 s' 'error 1, bound 0.1' \
    'it does not fit' 'took 3e-09 s' 'exit code 0'; do
    grep -q "$why" bad.txt.journal || complain "the journal does not say '$why': $(cut -c1-400 bad.txt.journal)"
done
while read -r line; do
    printf '%s\n' "$line" | "$json" outcome >/dev/null || complain "no JSON in the journal: $line"
done <bad.txt.journal
prints '^".*" ; f32 b1 h2:2 q128 k128 d32:32 full fwd ; .* ; driver=".*" clattn=[0-9.]* date=[0-9-]* gain=2 error=1e-07$'
lines bad.txt 2

fake lucky <<'END'
case $kind in match) match ;; confirm) echo begin; echo 'ok 2e-4:2e-4:2e-4:9:1:1e-7:1e-6 2e-4:2e-4:2e-4:9:1:1e-7:1e-6' ;; *) ok 1e-3 ;; esac
END
expect 0 'a gain that is luck' --child-program ./lucky -o lucky.txt "$problem"
prints '1.000 +- 0.010 no'
lines lucky.txt 1

echo "== it goes on where it was"
cp bad.txt.journal before
fake mute <<'END'
echo asked >>asked
ok 1e-3
END
expect 0 'nothing again' --child-program ./mute -o bad.txt "$problem"
counts '1 3 7 1'
cmp -s before bad.txt.journal || complain "nothing again: the journal changed"
[ ! -e asked ] || complain "nothing again: $(wc -l <asked) were"

fake usual <<END
echo asked >>asked
$usual
END
cp bad.txt.journal build.txt.journal
cp "$tune" other-build && echo x >>other-build
what='another build'
./other-build --device "$device" --child-program ./usual -o build.txt "$problem" >out.txt 2>err.txt
lines asked "$(wc -l <before)" # all are asked again
lines build.txt.journal $((2 * $(wc -l <before)))
rm asked
head -c -40 before >bad.txt.journal
expect 0 'a torn line' --child-program ./usual -o bad.txt "$problem"
lines asked 1
expect 0 'behind a torn line' --child-program ./usual -o bad.txt "$problem"
lines asked 1
says 'passed over'

fake killer <<END
case \$n in
4) kill -9 \$PPID ;;
*) $usual ;;
esac
END
expect 137 'a killed parent' --child-program ./killer -o killed.txt "$problem"
[ ! -e killed.txt ] || complain "a killed parent left a tuning file"
lines killed.txt.journal 3
expect 0 'after the kill' --child-program ./usual -o killed.txt "$problem"
once killed.txt.journal
[ $(($(figure 2) + 2)) -eq "$(wc -l <killed.txt.journal)" ] || complain "after the kill: the journal is not whole"

fake interrupted <<END
case \$n in
5) echo \$\$ >pid; kill -INT \$PPID; sleep 100 ;;
*) $usual ;;
esac
END
expect 5 'an interruption' --child-program ./interrupted -o int.txt "$problem"
says 'the same command goes on'
[ "$(figure 2)" = 4 ] || complain "an interruption: the table: $(cat out.txt)"
! kill -0 "$(cat pid)" 2>/dev/null || complain "an interruption: the child lives"
[ ! -e int.txt ] || complain "an interruption: a tuning file was written"
lines int.txt.journal 4

fake second <<END
case \$n in
2) "\$tune" --device "\$device" --child-program ./mute -o two.txt "$problem" >second.out 2>second.err; echo \$? >second.rc; ok 1e-3 ;;
*) $usual ;;
esac
END
expect 0 'two at once' --child-program ./second -o two.txt "$problem"
[ "$(cat second.rc)" = 5 ] || complain "two at once: the second one's exit code: $(cat second.rc)"
grep -q 'another clattn-tune writes it' second.err || complain "two at once: $(cat second.err)"
once two.txt.journal

echo "== a full disk"
fake usual <<END
$usual
END
(
    trap '' XFSZ
    ulimit -f 4
    exec "$tune" --device "$device" --child-program ./usual -o full.txt "$problem" >out.txt 2>err.txt
)
what='a full disk' got=$?
[ $got -eq 5 ] || complain "a full disk: exit code $got"
says 'the journal cannot be written'
prints 'gain=2'
[ "$(figure 2)" -gt 8 ] || complain "a full disk: it did not go on: $(cat out.txt)"

echo "== a line is used"
printf '%s\n\n%s k128\n' "$problem" "$problem" >problems.log
expect 0 'a log' --child-program ./usual -o used.txt --from-log problems.log
lines out.txt 4 # one problem
variant=$(sed -n 's/.* ; \(fwd_[^;]*\) ; driver=.*/\1/p' used.txt)
"$make" random in.safetensors F32 bhsd 1 2 2 128 128 32 32
"$run" --device "$device" --tuning used.txt in.safetensors -o out.safetensors 2>err.txt
grep -qF "$variant" err.txt || complain "clattn-run does not use the line: $variant"
"$info" --device "$device" --tuning used.txt "$problem" >out.txt 2>err.txt
grep -q 'used.txt:2' out.txt || complain "clattn-info does not name the line: $(cat out.txt)"
expect 0 '--check' --child-program ./usual --check used.txt
prints '^used.txt:2: good: gain 2.000 +- 0.010'
fake slow <<'END'
case $kind in match) echo begin; echo 'ok 1e-4:1e-4:1e-4:3:1:1e-7:1e-6 2e-4:2e-4:2e-4:3:1:1e-7:1e-6' ;; *) ok 1e-3 ;; esac
END
{
    cat used.txt
    echo '"no such device" ; f32 ; fwd_rows'
    echo '* ; f32'
    echo '* ; f32 ; fwd_rows NONSENSE=3'
    echo '* ; f32 nonsense ; fwd_rows'
} >stale.txt
expect 5 '--check of bad lines' --child-program ./slow --check stale.txt
prints '^stale.txt:2: stale: gain 0.500'
prints '^stale.txt:3: for another device'
prints '^stale.txt:4: malformed'
prints '^stale.txt:5: illegal: .*NONSENSE'
prints '^stale.txt:6: malformed: .*nonsense'
says '4 lines are not good'
fake wrong <<'END'
echo 'wrong on f32 q7 d8: error 1, bound 0.1'
END
expect 5 '--check of a wrong one' --child-program ./wrong --check used.txt
prints '^used.txt:2: wrong: on f32 q7 d8'
expect 1 '--check of no file' --check missing.txt

echo "== files are joined"
cat >a.txt <<'END'
# of A
cpu ; f32 q128 fwd ; fwd_rows WORK_GROUP=1 ; driver="1 ; 2" gain=1.1
* ; f32 d64 ; fwd_rows
END
cat >b.txt <<'END'
# of A
# of B
cpu  ;  fwd q128   f32 ; fwd_rows ; gain=9
* ; f32 d64 ; bwd_rows
nonsense
cpu ; f32 q129 fwd ; fwd_rows ; gain=1.3 # as it stands
END
{
    cat a.txt
    echo '# of B'
    echo '* ; f32 d64 ; bwd_rows'
    echo '# malformed: nonsense'
    echo 'cpu ; f32 q129 fwd ; fwd_rows ; gain=1.3 # as it stands'
} >joined.txt
expect 0 '--merge' --merge a.txt b.txt -o c.txt
says 'malformed and are comments now: 1'
cmp c.txt joined.txt || complain "--merge: $(cat c.txt)"
expect 0 '--merge again' --merge a.txt c.txt b.txt -o a.txt
cmp a.txt joined.txt || complain "--merge again: $(cat a.txt)"
expect 1 '--merge of no file' --merge a.txt missing.txt -o d.txt
[ ! -e d.txt ] || complain "--merge of no file wrote one"
printf 'a\000b' >binary
expect 1 '--merge of a binary file' --merge binary -o d.txt
says 'is not a text'
head -c 3000000 /dev/zero | tr '\0' '#' >large
head -c 3000000 /dev/zero | tr '\0' ' ' >larger
expect 5 '--merge of too much' --merge large larger -o d.txt
says 'larger than 4 MiB'
expect 2 '--merge to nowhere' --merge a.txt
expect 2 '--merge of nothing' --merge -o d.txt
expect 2 '--merge and --check' --merge a.txt -o d.txt --check b.txt

echo "== a file is installed"
own=$here/config/clattn/tuning.txt
XDG_CONFIG_HOME=$here/config HOME=$here/home
export XDG_CONFIG_HOME HOME
fake usual <<END
$usual
END
expect 0 '--install' --child-program ./usual --install "$problem"
says "installed in $own"
lines "$own" 1
"$info" --device "$device" "$problem" >out.txt 2>err.txt
grep -qF "$own:1" out.txt || complain "clattn-info does not use what is installed: $(cat out.txt)"
"$info" --device "$device" --tuning '' "$problem" >out.txt 2>err.txt
! grep -qF "$own" out.txt || complain "--tuning '' leaves the user's file on: $(cat out.txt)"
sed 's/gain=[0-9]*/gain=7/' "$own" >newer.txt
echo '# mine' >>"$own"
expect 0 '--install what is there' --merge newer.txt --install
[ "$(cat "$own")" = "$(cat newer.txt; echo '# mine')" ] || complain "--install: $(cat "$own")"
XDG_CONFIG_HOME=relative # to be ignored
for i in 1 2 3 4 5 6 7 8; do
    echo "cpu ; q$i ; fwd_rows" >"q$i.txt"
    "$tune" --merge "q$i.txt" --install 2>>err.txt &
done
wait
lines home/.config/clattn/tuning.txt 8
[ ! -e relative ] || complain "a relative XDG_CONFIG_HOME is used"
HOME=$here/a.txt
expect 5 '--install where no folder can be' --install "$problem"
says 'cannot be written: Not a directory'
XDG_CONFIG_HOME='' HOME=''
expect 5 '--install without a home' --install "$problem"
says 'nor HOME is set'
XDG_CONFIG_HOME=$here/none

echo "== a true child"
expect 0 'true' --budget 6 -o true.txt "$problem"
cat out.txt
counts '0 0 0 0'
[ "$(figure 2)" -gt 0 ] || complain "a true child tried nothing"
grep -q '"outcome":"ok"' true.txt.journal || complain "a true child: $(cat true.txt.journal)"
expect 0 'true again' --budget 0.01 -o true.txt "$problem"
once true.txt.journal
# The longest variants have some 300 bytes.
expect 0 'a long variant' --budget 0.1 -o long.txt "f32 q48 d16 bwd"
printf '* ; f32 q48 k48 d16 bwd ; bwd_tile\n' >long.txt
"$tune" --device "$device" --check long.txt >out.txt 2>err.txt
prints '^long.txt:1: .*gain\|by itself'
printf '* ; f32 h2 q128 d32 ; fwd_rows WORK_GROUP=1\n' >rows.txt
expect 5 'true --check' --check rows.txt
prints '^rows.txt:1: stale: gain 0\.'
expect 3 'what clattn does not offer' --budget 5 "f32 q16 d600"
says 'd600: .*at most 512'

[ $failures -eq 0 ]
