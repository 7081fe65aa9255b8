/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills the literals of a text into the template of its shape, for compile/filling.py,
 * which makes the plans.  In C because every flow of the Southbound is filled in twice,
 * its match and its actions.
 */
#ifndef OVN_BPF_NATIVE_FILL_H
#define OVN_BPF_NATIVE_FILL_H

#include "literals.h"

#include <stdint.h>

#define OVN_FILL_WORDS 4096 /* of one plan */

/*
 * A plan is these, one behind the other, and all of it 32-bit numbers: the head, then
 * the words with zeros where literals go, holes, slots, pairs.
 */
struct ovn_plan_head {
	uint32_t words, holes, slots, pairs;
};

/* A literal may be as large as `most`; of it `mask` counts.  Least significant first. */
struct ovn_plan_hole {
	uint32_t literal;
	uint32_t mask[4], most[4];
};

/* Word `at` gets (masked literal >> pos & ones) << shift. */
struct ovn_plan_slot {
	uint32_t hole, pos, ones, at, shift;
};

/* Two keys meet if words a and b agree in `mask`, and so in each comparison that follows
 * one with `more`. */
struct ovn_plan_pair {
	uint32_t a, b, mask, more;
};

/*
 * The literals that ovn_take_apart() found -> the words of an instance.  0, or -1 when
 * a literal does not fit, or keys meet.
 */
int ovn_fill(const char *plan, const struct ovn_literals *from, uint32_t *words);

#endif
