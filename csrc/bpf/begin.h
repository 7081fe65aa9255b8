/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How a packet begins: what enter() was told of the way it came decides which words
 * it has and where its walk starts.  ovn_run asks once, so that the kernel verifies
 * this, and parse(), in one program and not in each way in.
 */
#ifndef OVN_BPF_BEGIN_H
#define OVN_BPF_BEGIN_H

#include "entry.h"
#include "interp.h"
#include "parse.h"

/* From a logical port's device: into its ingress pipeline. */
static __always_inline int from_device(struct __sk_buff *skb, struct scratch *s)
{
	const struct ovn_port *p = NULL;
	__u32 tci;
	int err = parse(skb, s);

	if (err)
		return err;
	tci = s->cur.w[OW_ETH_TYPE] & 0xffff;
	if (tci & VLAN_PRESENT && tci & 0xfff) {
		p = port_of_device(s, skb->ifindex, tci & 0xfff);
		if (p) { /* a container: its tag is gone once it is inside */
			s->cur.w[OW_ETH_TYPE] &= 0xffff0000;
			s->cur.w[OW_FLAGS] |= MLF_NESTED_CONTAINER;
		}
	}
	if (!p)
		p = port_of_device(s, skb->ifindex, 0);
	if (!p)
		return DROP_NO_PORT;
	s->in_ifindex = skb->ifindex;
	s->cur.w[OW_DP] = p->key.dp;
	s->cur.w[OW_INPORT] = p->key.port;
	if (p->flags & OVN_PORT_F_LOCALPORT)
		s->cur.w[OW_FLAGS] |= MLF_LOCALPORT;
	if (p->flags & OVN_PORT_F_ASLEEP) {
		if (!wakes(s, p->flags))
			return DROP_ASLEEP;
		news(skb, s, OVN_NEWS_AWAKE, p->key.port, OW_ETH_SRC);
	}
	s->cur.dp_index = p->dp_index;
	load_zones(s, p);
	push(s, FR_LOOKUP, 0, 0, 0, 0);
	return 0;
}

/* From another chassis: into the egress pipeline of the outport it names. */
static __always_inline int from_tunnel(struct __sk_buff *skb, struct scratch *s)
{
	__u32 outport = s->tun_opt & 0xffff;
	int err = parse(skb, s);

	if (err)
		return err;
	s->cur.w[OW_DP] = s->tun_vni;
	s->cur.w[OW_INPORT] = s->tun_opt >> 16 & 0x7fff;
	s->cur.w[OW_OUTPORT] = outport;
	if (!outport)
		return from_flood(s, s->tun_vni);
	if (outport >= OVN_MIN_MCGROUP)
		return output_group(s, 1);
	err = output_local(s, s->tun_vni, outport);
	return err == DROP_NO_OUTPORT ? DROP_TUN_VNI : err;
}

/* Made by the slow path, for a port or group: with MLF_LOCAL_ONLY as it would come
 * from another chassis (OVN's LOCAL_OUTPUT), else as by `output`. */
static __always_inline int made_for_outport(struct scratch *s)
{
	const __u32 *w = s->cur.w;

	if (!(w[OW_FLAGS] & MLF_LOCAL_ONLY)) {
		push(s, FR_OUTPUT, 0, 0, 0, 0);
		return 0;
	}
	if (w[OW_OUTPORT] >= OVN_MIN_MCGROUP)
		return output_group(s, 1);
	return output_local(s, w[OW_DP], w[OW_OUTPORT]);
}

/* Back from the slow path, or made by it: the frame is new, the rest is as it was. */
static __always_inline int from_slowpath(struct __sk_buff *skb, struct scratch *s)
{
	const struct ovn_punt *p = array_at(&ovn_resume_ctl, 0);
	const struct ovn_port *port;
	const struct ovn_insn *in;
	__u32 slot;
	int err;

	if (!p)
		return DROP_BUG;
	err = parse(skb, s);
	if (err)
		return err;
	__builtin_memcpy(s->cur.w, p->w, 4 * OW_HEADERS);
	s->cur.egress = p->egress != 0;
	s->cur.queue = p->queue;
	s->cur.flow = p->flow;
	s->cur.table = p->table;
	s->in_ifindex = 0;
	if (!p->pc && p->table == OVN_PUNT_OUTPUT)
		return made_for_outport(s);
	slot = port_slot(s, s->cur.w[OW_DP], s->cur.w[p->egress ? OW_OUTPORT : OW_INPORT]);
	port = port_at(slot);
	if (!port)
		return DROP_PUNT_STALE;
	s->cur.dp_index = port->dp_index;
	s->cur.out_slot = p->egress ? slot : 0;
	if (!p->pc) {
		push(s, FR_LOOKUP, p->table, 0, 0, 0);
		return 0;
	}
	in = insn_at(p->pc);
	if (!in || in->op != OP_PUNT || in->a != p->verb || in->b != p->arg || in->c != p->mark)
		return DROP_PUNT_STALE;
	if (in->src & OVN_PUNT_ANSWERS)
		set_bit(s->cur.w, in->dst, in->aux, p->answer);
	push(s, FR_ACTS, s->cur.egress, p->pc + 1, 0, 0);
	return 0;
}

/* The packet that ovn_trace_ctl describes, as words. */
static __always_inline int from_trace(struct scratch *s)
{
	const struct ovn_trace_ctl *ctl = array_at(&ovn_trace_ctl, 0);
	const struct ovn_port *p;

	if (!ctl)
		return DROP_BUG;
	__builtin_memset(&s->cur, 0, sizeof(s->cur));
	__builtin_memcpy(s->cur.w, ctl->w, sizeof(s->cur.w));
	s->trace_len = ctl->length;
	s->trace_pick = ctl->select_id;
	s->l3 = ETH_LEN;
	s->l4 = 0;
	s->off = 0;
	s->frag = 0;
	s->wire_reply = 0;
	__builtin_memcpy(s->wire, s->cur.w + OW_HEADERS, sizeof(s->wire) - 16);
	if (ctl->remote && s->cur.w[OW_OUTPORT] >= OVN_MIN_MCGROUP)
		return output_group(s, 1);
	if (ctl->remote)
		return output_local(s, s->cur.w[OW_DP], s->cur.w[OW_OUTPORT]);
	p = port_at(port_slot(s, s->cur.w[OW_DP], s->cur.w[OW_INPORT]));
	if (!p)
		return DROP_NO_PORT;
	s->cur.dp_index = p->dp_index;
	load_zones(s, p);
	if (p->flags & OVN_PORT_F_LOCALPORT)
		s->cur.w[OW_FLAGS] |= MLF_LOCALPORT;
	push(s, FR_LOOKUP, 0, 0, 0, 0);
	return 0;
}

/* ovn_serve made the frame an answer: that is new, the rest is as it was, as in
 * from_slowpath(). */
static __always_inline int from_serve(struct __sk_buff *skb, struct scratch *s)
{
	struct pkt *was = &s->serve.was;
	int err;

	__builtin_memcpy(was, &s->cur, sizeof(*was));
	err = parse(skb, s);
	if (err)
		return err;
	__builtin_memcpy(s->cur.w, was->w, 4 * OW_HEADERS);
	s->cur.dp_index = was->dp_index;
	s->cur.out_slot = was->out_slot;
	s->cur.egress = was->egress;
	s->cur.queue = was->queue;
	s->cur.flow = was->flow;
	s->cur.table = was->table;
	if (s->serve.kept) {
		s->cur.reply = REPLY_SERVED;
		s->wire_reply = REPLY_SERVED;
	} else {
		s->in_ifindex = 0;
	}
	return 0;
}

/*
 * begin - fill the context and push what is to be done first
 *
 * Returns 0 or a drop reason.
 */
__noinline int begin(struct __sk_buff *skb, struct scratch *s)
{
	__u32 way;
	int err;

	if (!s)
		return DROP_BUG;
	way = s->way;
	s->way = WAY_ON;
	switch (way) {
	case WAY_DEVICE:
		err = from_device(skb, s);
		break;
	case WAY_TUNNEL:
		err = from_tunnel(skb, s);
		break;
	case WAY_SLOWPATH:
		return from_slowpath(skb, s);
	case WAY_TRACE:
		return from_trace(s);
	case WAY_SERVED:
		return from_serve(skb, s);
	default:
		return 0;
	}
	if (!err && s->watched)
		witness(skb, s, way == WAY_DEVICE ? OVN_SEEN_IN : OVN_SEEN_TUNNEL, 0);
	return err;
}

#endif
