# Draws how many times as fast as llama.cpp Sluice is, from the rows of peers/compare_speed.py (the last one of each
# point counts), one group of bars per point, one colour per model:
#     gnuplot -e "csv='bench/results/speed_X.csv'" bench/plot_speed.gp > bench/results/speed_X.svg
# Another peer: -e "peer='ik_llama.cpp'". Bars end at the median, lines join the quartiles of the rounds' ratios.
if (!exists("peer")) peer = "llama.cpp"
set terminal svg noenhanced size 1000,460 font "sans-serif,13" background "white"
set datafile separator ","

# columns: 3 cpu, 5 threads, 6 model, 8 type, 9 routing, 11 peer, 13 work, 14 n, 21..23 ratio and quartiles; names with
# ~ for blanks, because gnuplot's words end at blanks
of_peer(rest) = sprintf("awk -F, -v peer='%s' '$11 != peer {next} \
{label = $6 \"~\" $8 ($9 ~ /zipf/ ? \"~\" $9 : \"\"); gsub(/ /, \"~\", label); \
point = $13 \"~\" $14} %s' %s", peer, rest, csv)
models = system(of_peer("!seen[label]++ {print label}"))
points = system(of_peer("!seen[point]++ {print point}") . " | sort -t'~' -k1,1r -k2,2n")
machine = system(of_peer("{print $3 \", \" $5 \" threads\"; exit}"))
spaces(text) = system("echo '" . text . "' | tr '~' ' '")
ratios(model, point) = "< " . of_peer(sprintf("label == \"%s\" && point == \"%s\" {last = $21 \",\" $22 \",\" $23} \
END {if (last) print last}", model, point))

set title sprintf("Sluice / %s on the same file, %s", peer, machine)
set ylabel sprintf("times as fast as %s", peer)
set yrange [0:*]
set grid y
set key below horizontal
set style fill solid 0.8
set boxwidth 1
group = words(models) + 1.5
set xtics () scale 0
do for [p = 1:words(points)] {
    set xtics add (spaces(word(points, p)) (p - 1) * group + words(models) / 2.0 - 0.5)
}
set xrange [-1:words(points) * group - 0.5]
place(m, p) = (p - 1) * group + m - 1
plot 1 with lines dashtype 2 linecolor "gray30" notitle, \
     for [m = 1:words(models)] for [p = 1:words(points)] ratios(word(models, m), word(points, p)) \
         using (place(m, p)):1 with boxes linecolor m title (p == 1 ? spaces(word(models, m)) : ""), \
     for [m = 1:words(models)] for [p = 1:words(points)] ratios(word(models, m), word(points, p)) \
         using (place(m, p)):2:(0):($3 - $2) with vectors nohead linewidth 2 linecolor "gray20" notitle
