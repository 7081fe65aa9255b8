/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet does not fit the tunnel: tell its sender (RFC 1191, RFC 4443 section
 * 3.2).  The frame itself is turned into the error, so this is only for a frame
 * that nobody else needs, from a port of ours; the source address is the one
 * the packet was for, as there is no router on a logical switch.
 */
#ifndef OVN_BPF_TOOBIG_H
#define OVN_BPF_TOOBIG_H

#include "store.h"

/*
 * The context becomes ICMP "fragmentation needed" or "too big" about the frame.
 *
 * mtu: largest network-layer packet that would fit, in bytes.  Returns 0, or
 * -1 when no error may or can be sent (the frame is then to be dropped).
 */
static __always_inline int too_big(struct scratch *s, __u32 mtu)
{
	__u32 *w = s->cur.w, i;

	if (!s->in_ifindex || s->off || s->wire_reply)
		return -1;
	for (i = OW_HEADERS; i < OW_END; i++)
		w[i] = s->wire[HDR(i)];
	s->cur.icmp_id = s->wire_id;
	if (w[OW_ETH_DST] & 0x100 || become_reply(s, OVN_REPLY_ERROR | OVN_REPLY_SWAP))
		return -1;
	w[OW_L4_PORTS] = w[OW_ETH_TYPE] >> 16 == ETH_P_IPV6 ? 2 << 16 : 3 << 16 | 4;
	w[OW_ICMP_REST] = mtu;
	return 0;
}

#endif
