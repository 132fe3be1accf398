# Draws a product of an expert's size on one thread, from the rows of bench_matmul:
#     gnuplot -e "csv='bench/results/cascadelake_2cpu.csv'" bench/plot_matmul.gp > bench/results/matmul_cascadelake.svg
set terminal svg size 900,420 font "sans-serif,13" background "white"
set datafile separator ","
set title "One expert's matrix [768, 2048] times m tokens, one thread, Xeon (Cascade Lake) 2.5 GHz"
set xlabel "m, tokens that chose the expert"
set ylabel "GFLOP/s"
set logscale x 2
set xrange [1:512]
set yrange [0:150]
set grid
set key outside right top
row(name) = sprintf("< grep ',%s,' %s | grep 'n=768 k=2048' | sed 's/m=\\([0-9]*\\) n=768 k=2048/\\1/'", name, csv)
roof = system(sprintf("grep fma_f32_avx512 %s | cut -d, -f10", csv)) + 0
plot roof with lines dashtype 2 linecolor "gray40" title "roof: fused multiply-adds on registers", \
     row("bf16_r16k2_f32_avx512") using 5:10 with linespoints linewidth 2 title "bf16, AVX-512", \
     row("f32_r16_f32_avx512") using 5:10 with linespoints linewidth 2 title "f32, AVX-512", \
     row("bf16_r16k2_f32_avx2") using 5:10 with linespoints linewidth 2 title "bf16, AVX2", \
     row("f32_rows_f32_openblas") using 5:10 with linespoints linewidth 2 title "f32, OpenBLAS 0.3.21"
