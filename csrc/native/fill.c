// SPDX-License-Identifier: Apache-2.0
#include "fill.h"

#include <string.h>

typedef unsigned __int128 wide;

static wide wide_of(const uint32_t *p)
{
	return (wide)p[3] << 96 | (wide)p[2] << 64 | (uint64_t)p[1] << 32 | p[0];
}

/* Whether two keys agree in all that both look at; *pair: on to the next two. */
static int meet(const struct ovn_plan_pair **pair, const uint32_t *words)
{
	const struct ovn_plan_pair *p = *pair;
	int same = 1;

	for (;; p++) {
		same &= !((words[p->a] ^ words[p->b]) & p->mask);
		if (!p->more)
			break;
	}
	*pair = p + 1;
	return same;
}

int ovn_fill(const char *plan, const struct ovn_literals *from, uint32_t *words)
{
	const struct ovn_plan_head *head = (const void *)plan;
	const uint32_t *base = (const void *)(head + 1);
	const struct ovn_plan_hole *hole = (const void *)(base + head->words);
	const struct ovn_plan_slot *slot = (const void *)(hole + head->holes);
	const struct ovn_plan_pair *pair = (const void *)(slot + head->slots);
	wide values[OVN_MAX_LITERALS];
	uint32_t i;

	for (i = 0; i < head->holes; i++, hole++) {
		wide value = (wide)from->high[hole->literal] << 64 | from->low[hole->literal];

		if (value > wide_of(hole->most))
			return -1;
		values[i] = value & wide_of(hole->mask);
	}
	memcpy(words, base, head->words * sizeof(*words));
	for (i = 0; i < head->slots; i++, slot++)
		words[slot->at] |= ((uint32_t)(values[slot->hole] >> slot->pos) & slot->ones)
				   << slot->shift;
	for (i = 0; i < head->pairs; i++)
		if (meet(&pair, words))
			return -1;
	return 0;
}
