/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How a program begins and ends: it takes a level of scratch memory for its
 * packet and gives it back.  Every entry point goes through enter() and leave().
 */
#ifndef OVN_BPF_ENTRY_H
#define OVN_BPF_ENTRY_H

#include "scratch.h"

#define TC_ACT_UNSPEC (-1) /* leave the frame to whoever comes next */
#define TC_ACT_SHOT 2

/* Take a level of scratch for this packet, or NULL when nested too deep. */
static __always_inline struct scratch *enter(__u32 *depth)
{
	const struct ovn_ctl *ctl = control();
	__u32 *level = array_at(&ovn_depth, 0);
	struct scratch *s;
	__u32 i;

	if (!level || !ctl)
		return NULL;
	*depth = *level;
	s = scratch_at(*depth);
	if (!s)
		return NULL;
	*level = *depth + 1;
	s->generation = ctl->generation;
	s->injected = 0;
	s->trace = 0;
	for (i = 0; i < OVN_SET_WORDS; i++)
		s->sets[i].kind = 0; /* of another packet, perhaps another generation */
	s->n_stack = 0;
	s->n_saved = 0;
	s->n_deferred = 0;
	s->n_fields = 0;
	s->remote_done = 0;
	s->outer = 0;
	s->orig_len = 0;
	s->in_ifindex = 0;
	s->flow = 0;
	s->stages = 0;
	s->probes = 0;
	s->verdict = TC_ACT_SHOT;
	return s;
}

static __always_inline int leave(__u32 depth, int verdict)
{
	const struct scratch *s = scratch_at(depth);
	struct ovn_work *work = array_at(&ovn_work, 0);
	__u32 *level = array_at(&ovn_depth, 0);

	if (work && s && !s->trace) {
		work->packets++;
		work->stages += s->stages;
		work->probes += s->probes;
	}
	if (level)
		*level = depth;
	return verdict;
}

#endif
