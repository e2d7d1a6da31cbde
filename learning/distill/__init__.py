"""Few-step students of a trained diffusion model, whatever its network predicts and whatever it is conditioned on.

`onedp.py` makes a generator of one evaluation whose samples have the teacher's distribution; `consistency.py` makes a
network that goes from any level straight to the end of the teacher's deterministic path. Both know a network only as a
`denoiser.Denoiser`.
"""
