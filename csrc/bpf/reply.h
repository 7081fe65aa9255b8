/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Packets that answer the one in hand without anybody's help: neighbour
 * advertisements, ICMP errors, TCP resets, SCTP aborts.  Here their words are made;
 * the frame follows when they leave (store.h, icmp.h, reset.h, abort.h).
 */
#ifndef OVN_BPF_REPLY_H
#define OVN_BPF_REPLY_H

#include "abort.h"

static __always_inline void swap_words(__u32 *w, __u32 a, __u32 b, __u32 n)
{
	__u32 i, t;

	for (i = 0; i < n; i++) {
		t = w[a + i];
		w[a + i] = w[b + i];
		w[b + i] = t;
	}
}

/* The NS in the context becomes the NA that answers it (RFC 4861, 7.2.4). */
static __always_inline void become_na(__u32 *w)
{
	__u32 i, mac[2] = { w[OW_ETH_SRC], w[OW_ETH_SRC + 1] };

	w[OW_ETH_SRC] = w[OW_ETH_DST];
	w[OW_ETH_SRC + 1] = w[OW_ETH_DST + 1];
	w[OW_ETH_DST] = mac[0];
	w[OW_ETH_DST + 1] = mac[1];
	for (i = 0; i < 4; i++) {
		w[OW_IP_DST + i] = w[OW_IP_SRC + i];
		w[OW_IP_SRC + i] = w[OW_ND_TARGET + i];
	}
	w[OW_IP] = PROTO_ICMP6 << 24 | 255 << 16;
	w[OW_L4_PORTS] = ND_NA << 16;
	w[OW_ND_SLL] = 0;
	w[OW_ND_SLL + 1] = 0;
	w[OW_ND_TLL] = w[OW_ETH_SRC];
	w[OW_ND_TLL + 1] = w[OW_ETH_SRC + 1];
}

/* May anybody be told about this packet?  RFC 1122, 3.2.2; RFC 4443, 2.4 (e); but
 * for link-layer groups, where ovn-controller leaves that to the logical flows. */
static __always_inline int may_answer(const struct scratch *s)
{
	const __u32 *w = s->cur.w;
	__u32 type = w[OW_ETH_TYPE] >> 16, proto = w[OW_IP] >> 24, icmp = w[OW_L4_PORTS] >> 16;

	if ((w[OW_IP] | s->frag) & OVN_FRAG_LATER)
		return 0;
	if (type == ETH_P_IP)
		return w[OW_IP_SRC + 3] && w[OW_IP_SRC + 3] >> 28 < 14 &&
		       (proto != PROTO_ICMP ||
			(icmp != 3 && icmp != 4 && icmp != 5 && icmp != 11 && icmp != 12));
	if (type != ETH_P_IPV6 || w[OW_IP_SRC] >> 24 == 0xff)
		return 0;
	return (w[OW_IP_SRC] | w[OW_IP_SRC + 1] | w[OW_IP_SRC + 2] | w[OW_IP_SRC + 3]) &&
	       (proto != PROTO_ICMP6 || icmp >= 128);
}

static __always_inline void become_reset(__u32 *w)
{
	__u32 ports = w[OW_L4_PORTS], ack = w[OW_TCP_ARP] & TCP_ACK;

	w[OW_IP] = PROTO_TCP << 24 | 63 << 16;
	w[OW_L4_PORTS] = ports << 16 | ports >> 16;
	w[OW_TCP_ARP] = ack ? TCP_RST : TCP_RST | TCP_ACK;
}

static __always_inline void become_abort(__u32 *w)
{
	__u32 ports = w[OW_L4_PORTS];

	w[OW_IP] = PROTO_SCTP << 24 | 63 << 16;
	w[OW_L4_PORTS] = ports << 16 | ports >> 16;
}

static __always_inline void become_error(__u32 *w, __u32 flags)
{
	__u32 ip6 = w[OW_ETH_TYPE] >> 16 == ETH_P_IPV6, i;
	__u32 port = flags & OVN_REPLY_PORT && w[OW_IP] >> 24 == PROTO_UDP;

	w[OW_IP] = (ip6 ? PROTO_ICMP6 : PROTO_ICMP) << 24 | 255 << 16;
	/* Destination unreachable: host (administratively prohibited), port. */
	w[OW_L4_PORTS] = ip6 ? 1 << 16 | (port ? 4 : 1) : 3 << 16 | (port ? 3 : 1);
	w[OW_TCP_ARP] = 0;
	for (i = OW_ND_TARGET; i < OW_END; i++)
		w[i] = 0;
	w[OW_ICMP_REST] = 0;
}

/*
 * The packet in the context becomes the answer to it; flags: enum ovn_reply.
 * The frame must say what the context says (store()).  Returns 0 or a reason.
 */
static __always_inline int become_reply(struct scratch *s, __u32 flags)
{
	__u32 *w = s->cur.w, proto = w[OW_IP] >> 24, kind;

	if (s->cur.reply || !may_answer(s))
		return DROP_NO_REPLY;
	if (proto == PROTO_TCP && flags & OVN_REPLY_RESET)
		kind = REPLY_RESET;
	else if (proto == PROTO_SCTP && flags & OVN_REPLY_ABORT)
		kind = REPLY_ABORT;
	else
		kind = REPLY_ERROR;
	if (kind == REPLY_ERROR ? !(flags & OVN_REPLY_ERROR)
				: kind == REPLY_RESET && w[OW_TCP_ARP] & TCP_RST)
		return DROP_NO_REPLY;
	if (kind == REPLY_ERROR)
		quote_words(&s->cur.inner, w + OW_HEADERS, s->cur.icmp_id);
	s->cur.icmp_id = 0;
	if (flags & OVN_REPLY_SWAP) {
		swap_words(w, OW_ETH_DST, OW_ETH_SRC, 2);
		swap_words(w, OW_IP_SRC, OW_IP_DST, 4);
	}
	w[OW_IP6_LABEL] = 0;
	if (kind == REPLY_RESET)
		become_reset(w);
	else if (kind == REPLY_ABORT)
		become_abort(w);
	else
		become_error(w, flags);
	s->cur.reply = kind;
	return 0;
}

#endif
