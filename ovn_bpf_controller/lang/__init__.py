# SPDX-License-Identifier: Apache-2.0
"""OVN's match and action language; pure, and knows nothing of maps or rows.

For the compiler: expr.parse_match, actions.parse_actions and action_prereqs,
normal.disjuncts, references, templates; the trees are in nodes, the names in
symbols.  logic builds trees, evaluate explains them.  Below: lexer, operands,
context, verbs, conntrack and results parse; terms, intervals and registers
are the arithmetic of the normal form.
"""
