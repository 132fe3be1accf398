# Draws how many times as fast as llama.cpp Sluice is, from the rows of peers/compare_speed.py (the last one of each model
# and piece of work counts), one bar per row, prefill above decode:
#     gnuplot -e "csv='bench/results/speed_X.csv'" bench/plot_speed.gp > bench/results/speed_X.svg
# Another peer: -e "peer='ik_llama.cpp'". Bars end at the median, lines join the quartiles of the rounds' ratios.
if (!exists("peer")) peer = "llama.cpp"
set datafile separator ","

# columns of the file: 3 cpu, 5 threads, 6 model, 8 type, 9 routing, 11 peer, 13 work, 14 n, 21..23 ratio and quartiles;
# of what is plotted: place, label, 1 for decode, ratio, quartiles
rows = sprintf("< awk -F, -v peer='%s' '$11 == peer { \
label = $6 \" \" $8 ($9 ~ /zipf/ ? \" \" $9 : \"\"); \
label = label \": \" ($13 == \"prefill\" ? \"prefill \" $14 : \"decode at \" $14); \
if (!(label in last)) order[++n] = label; last[label] = ($13 == \"decode\") \",\" $21 \",\" $22 \",\" $23} \
END {for (kind = 0; kind < 2; kind++) for (i = 1; i <= n; i++) \
if (substr(last[order[i]], 1, 1) == kind) print ++at \",\\\"\" order[i] \"\\\",\" last[order[i]]}' %s", peer, csv)
of_peer(what) = system(sprintf("awk -F, -v peer='%s' '$11 == peer {print %s; exit}' %s", peer, what, csv))
set terminal unknown
stats rows using 1 nooutput
n = STATS_records

set terminal svg noenhanced size 900,(90 + 19 * n) font "sans-serif,13" background "white"
set title sprintf("Sluice / %s on the same file, %s, %s threads", peer, of_peer("$3"), of_peer("$5"))
set xlabel sprintf("times as fast as %s", peer)
set xrange [0:*]
set yrange [n + 1:0]
set grid x
set ytics scale 0
set style fill solid 0.8
set arrow from 1, graph 0 to 1, graph 1 nohead dashtype 2 linecolor "gray30"
plot rows using 4:1:(0):4:($1 - 0.38):($1 + 0.38):($3 > 0 ? 0x2f8fcf : 0xe08a2c):ytic(stringcolumn(2)) \
         with boxxyerror linecolor rgb variable notitle, \
     rows using 5:1:($6 - $5):(0) with vectors nohead linewidth 2 linecolor "gray20" notitle
