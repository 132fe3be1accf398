/* Rotary position embedding: the table of cosines and sines, with the scalings that stretch a model's context.
 *
 * Frequencies and angles are rounded to float as transformers rounds them (the models were trained that way, and at
 * position 4096 the rounding of the angle is already 2e-4); cosine and sine are then computed in double and rounded
 * once, so that every machine gets the same table. */
#include <math.h>

#include "model/config.h"

static const double pi = 3.14159265358979323846;

/* Llama 3.1: short wavelengths stay, long ones are stretched by `factor`, between them a ramp. */
static double llama3_frequency(const struct rope_config *r, double frequency)
{
    double wavelength = 2 * pi / frequency;
    if (wavelength < r->original_context / r->high_freq_factor) return frequency;
    if (wavelength > r->original_context / r->low_freq_factor) return frequency / r->factor;
    double t = (r->original_context / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - t) * frequency / r->factor + t * frequency;
}

/* YaRN: the index of the pair that turns `rotations` times within the original context. */
static double yarn_index(const struct rope_config *r, double rotations, int n_rot)
{
    return n_rot * log(r->original_context / (rotations * 2 * pi)) / (2 * log(r->theta));
}

static double yarn_frequency(const struct rope_config *r, double frequency, int i, int n_rot)
{
    double low = yarn_index(r, r->beta_fast, n_rot), high = yarn_index(r, r->beta_slow, n_rot);
    if (r->truncate) {
        low = floor(low);
        high = ceil(high);
    }
    if (low < 0) low = 0;
    if (high > n_rot - 1) high = n_rot - 1;
    if (low == high) high += 0.001;
    double ramp = (i - low) / (high - low); /* 0: keep, 1: stretch */
    ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
    return frequency * (1 - ramp) + frequency / r->factor * ramp;
}

static double yarn_magnitude(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1; }

double rope_magnitude(const struct rope_config *r)
{
    if (r->attention_factor > 0) return r->attention_factor;
    if (r->scaling != ROPE_YARN) return 1;
    if (r->mscale > 0 && r->mscale_all_dim > 0)
        return yarn_magnitude(r->factor, r->mscale) / yarn_magnitude(r->factor, r->mscale_all_dim);
    return yarn_magnitude(r->factor, 1);
}

static double scaled_frequency(const struct rope_config *r, int i, int n_rot)
{
    double frequency = 1 / pow(r->theta, 2.0 * i / n_rot);
    if (r->divisors) frequency /= (double)r->divisors[i];
    switch (r->scaling) {
    case ROPE_DEFAULT: return frequency;
    case ROPE_LINEAR: return frequency / r->factor;
    case ROPE_LLAMA3: return llama3_frequency(r, frequency);
    case ROPE_YARN: return yarn_frequency(r, frequency, i, n_rot);
    case ROPE_PROPORTIONAL: return i < (int)(r->partial * n_rot / 2) ? frequency / r->factor : 0;
    }
    return frequency;
}

double rope_llama3_divisor(const struct rope_config *r, int i)
{
    double frequency = 1 / pow(r->theta, 2.0 * i / r->n_rot);
    return frequency / llama3_frequency(r, frequency);
}

void rope_table(const struct rope_config *r, int n_context, float *cosine, float *sine)
{
    int half = r->n_rot / 2;
    float magnitude = (float)rope_magnitude(r);
    for (int i = 0; i < half; i++) {
        float frequency = (float)scaled_frequency(r, i, r->n_rot);
        for (int position = 0; position < n_context; position++) {
            float angle = (float)position * frequency;
            cosine[position * (long)half + i] = (float)cos((double)angle) * magnitude;
            sine[position * (long)half + i] = (float)sin((double)angle) * magnitude;
        }
    }
}
