/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How a program begins and ends.  An entry program takes a level of scratch memory
 * with enter(), says there which way the packet came, and calls the interpreter,
 * ovn_run, which finds it with entered() and gives it back with leave().  So the
 * kernel verifies the interpreter once, however many ways in there are.
 */
#ifndef OVN_BPF_ENTRY_H
#define OVN_BPF_ENTRY_H

#include "drop.h"

#define TC_ACT_UNSPEC (-1) /* leave the frame to whoever comes next */
#define TC_ACT_SHOT 2

/* Take a level of scratch for this packet, or NULL when nested too deep. */
static __always_inline struct scratch *enter(__u32 way)
{
	const struct ovn_ctl *ctl = array_at(&ovn_ctl, 0);
	__u32 *level = array_at(&ovn_depth, 0);
	struct scratch *s;
	__u32 depth, i;

	if (!level || !ctl)
		return NULL;
	depth = *level;
	s = scratch_at(depth);
	if (!s)
		return NULL;
	*level = depth + 1;
	s->depth = depth;
	s->way = way;
	s->generation = ctl->generation;
	s->injected = 0;
	s->trace = 0;
	s->watched = watched();
	for (i = 0; i < OVN_SET_WORDS; i++)
		s->sets[i].kind = 0; /* of another packet, perhaps another generation */
	s->n_stack = 0;
	s->n_saved = 0;
	s->n_deferred = 0;
	s->n_fields = 0;
	s->remote_done = 0;
	s->serve.pc = 0;
	s->outer = 0;
	s->orig_len = 0;
	s->in_ifindex = 0;
	s->flow = 0;
	s->stages = 0;
	s->probes = 0;
	s->verdict = TC_ACT_SHOT;
	return s;
}

/* The level that enter() took last; NULL if none is taken. */
static __always_inline struct scratch *entered(void)
{
	const __u32 *level = array_at(&ovn_depth, 0);

	return level ? scratch_at(*level - 1) : NULL;
}

static __always_inline int leave(const struct scratch *s, int verdict)
{
	struct ovn_work *work = array_at(&ovn_work, 0);
	__u32 *level = array_at(&ovn_depth, 0);

	if (work && !s->trace) {
		work->packets++;
		work->stages += s->stages;
		work->probes += s->probes;
	}
	if (level)
		*level = s->depth;
	return verdict;
}

/* The packet ends before it has begun. */
static __always_inline void ended(struct __sk_buff *skb, struct scratch *s, int reason)
{
	if (s->trace)
		trace_event(s, TRACE_DROP, reason, 0);
	else
		drop(skb, reason);
}

/* The end of an entry program: ovn_run goes on with the packet, unless it came to
 * err.  Only a program's own frame may do this. */
static __always_inline int call_run(struct __sk_buff *skb, struct scratch *s, int err)
{
	if (!err) {
		bpf_tail_call_static(skb, &ovn_calls, OVN_CALL_RUN);
		err = DROP_NO_PROGRAM; /* still here */
	}
	if (!s->trace)
		drop(skb, err);
	return leave(s, TC_ACT_SHOT);
}

#endif
