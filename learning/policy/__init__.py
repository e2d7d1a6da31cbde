"""The policy: a call-conditioned visual encoder, and heads that turn its features into action chunks.

The encoder is trained first, with a plain regression head and the simulator's knowledge of where the target is. Its
features are then computed once for every frame, and the diffusion teacher, the student and the baselines are trained on
those: the heads differ, what they see does not.
"""
