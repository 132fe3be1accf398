/* Energy counters of machines that do not stand here, as folders. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/folder.h"
#include "tools/energy.h"

static void write_zone(const struct test_folder *t, const char *zone, const char *name, const char *energy)
{
    char path[128];
    snprintf(path, sizeof path, "sys/class/powercap/%s/name", zone);
    folder_write_text(t, path, name);
    snprintf(path, sizeof path, "sys/class/powercap/%s/energy_uj", zone);
    if (energy) folder_write_text(t, path, energy);
    snprintf(path, sizeof path, "sys/class/powercap/%s/max_energy_range_uj", zone);
    folder_write_text(t, path, "1000000000\n");
}

static void expect_near(double found, double expected)
{
    cr_expect(fabs(found - expected) < 1e-9, "%g, %g", found, expected);
}

Test(energy, rapl_adds_packages_and_memory_and_wraps)
{
    struct test_folder t;
    struct energy e;
    folder_create(&t);
    write_zone(&t, "intel-rapl:0", "package-0\n", "5000000\n");
    write_zone(&t, "intel-rapl:0:0", "core\n", "1000000\n");
    write_zone(&t, "intel-rapl:0:1", "dram\n", "999000000\n");
    write_zone(&t, "intel-rapl:1", "psys\n", "1000000\n");
    write_zone(&t, "intel-rapl-mmio:0", "package-0\n", "5000000\n");
    energy_open(&e, t.path);
    cr_assert_eq(e.n_counters, 2, "%zu counters: %s", e.n_counters, e.reason);
    cr_expect_str_eq(e.counters[0].name, "package-0");
    cr_expect_str_eq(e.counters[1].name, "dram");
    write_zone(&t, "intel-rapl:0", "package-0\n", "7500000\n");
    write_zone(&t, "intel-rapl:0:0", "core\n", "9000000\n");
    write_zone(&t, "intel-rapl:0:1", "dram\n", "500000\n"); /* beyond its range and from 0 on */
    energy_update(&e);
    expect_near(e.counters[0].joules, 2.5);
    expect_near(e.counters[1].joules, 1.5);
    expect_near(energy_joules(&e), 4);
    write_zone(&t, "intel-rapl:0", "package-0\n", "8500000\n");
    energy_update(&e);
    expect_near(energy_joules(&e), 5);
    energy_reset(&e);
    expect_near(energy_joules(&e), 0);
    folder_remove(&t);
}

Test(energy, sensors_where_there_is_no_rapl)
{
    struct test_folder t;
    struct energy e;
    folder_create(&t);
    folder_write_text(&t, "sys/class/hwmon/hwmon3/energy1_label", "Ecore000\n");
    folder_write_text(&t, "sys/class/hwmon/hwmon3/energy1_input", "1\n");
    folder_write_text(&t, "sys/class/hwmon/hwmon3/energy2_label", "Esocket0\n");
    folder_write_text(&t, "sys/class/hwmon/hwmon3/energy2_input", "1000000\n");
    folder_write_text(&t, "sys/class/hwmon/hwmon4/temp1_input", "1\n");
    energy_open(&e, t.path);
    cr_assert_eq(e.n_counters, 1, "%s", e.reason);
    cr_expect_str_eq(e.counters[0].name, "Esocket0");
    folder_write_text(&t, "sys/class/hwmon/hwmon3/energy2_input", "3000000\n");
    energy_update(&e);
    expect_near(energy_joules(&e), 2);
    folder_write_text(&t, "sys/class/hwmon/hwmon3/energy2_input", "1000000\n"); /* reset: nothing is known */
    energy_update(&e);
    expect_near(energy_joules(&e), 2);
    folder_remove(&t);
}

Test(energy, what_cannot_be_read_is_no_counter_and_has_a_reason)
{
    struct test_folder t;
    struct energy e;
    folder_create(&t);
    energy_open(&e, t.path);
    cr_expect_eq(e.n_counters, 0);
    cr_expect(strstr(e.reason, "no energy counter"), "%s", e.reason);
    static const char *const bad[] = {NULL, "", "-5\n", "12 J\n", "99999999999999999999999\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_zone(&t, "intel-rapl:0", "package-0\n", bad[i]);
        energy_open(&e, t.path);
        cr_expect_eq(e.n_counters, 0, "%s", bad[i]);
        cr_expect(strstr(e.reason, "intel-rapl:0/energy_uj: "), "%s: %s", bad[i], e.reason);
        energy_update(&e);
        expect_near(energy_joules(&e), 0);
    }
    folder_remove(&t);
}
