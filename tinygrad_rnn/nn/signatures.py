"""Signatures of PyTorch's ``nn.functional``, ``nn.init`` and ``nn.utils.rnn``, written as in ``ops/signatures.py``."""

from __future__ import annotations

__all__ = ["FUNCTIONAL", "INIT", "SEQUENCES"]

FUNCTIONAL = """
avg_pool1d (Tensor input, int/ints kernel_size, int/ints? stride=None, int/ints padding=0, bool ceil_mode=False,
    bool count_include_pad=True)
batch_norm (Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight=None, Tensor? bias=None,
    bool training=False, float momentum=0.1, float eps=1e-05)
bilinear (Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None)
binary_cross_entropy (Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, bool? reduce=None,
    str reduction='mean')
binary_cross_entropy_with_logits (Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None,
    bool? reduce=None, str reduction='mean', Tensor? pos_weight=None)
celu elu (Tensor input, float alpha=1.0, any inplace=False)
conv1d (Tensor input, Tensor weight, Tensor? bias=None, int/ints stride=1, str/int/ints padding=0,
    int/ints dilation=1, int groups=1)
cosine_embedding_loss margin_ranking_loss (Tensor input1, Tensor input2, Tensor target, float margin=0,
    bool? size_average=None, bool? reduce=None, str reduction='mean')
cosine_similarity (Tensor x1, Tensor x2, int dim=1, float eps=1e-08)
cross_entropy (Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, int ignore_index=-100,
    bool? reduce=None, str reduction='mean', float label_smoothing=0.0)
ctc_loss (Tensor log_probs, Tensor targets, any input_lengths, any target_lengths, int blank=0, str reduction='mean',
    bool zero_infinity=False)
dropout dropout1d dropout2d (Tensor input, float p=0.5, bool training=True, any inplace=False,
    Generator? generator=None)
embedding (Tensor input@indices:2, Tensor weight@weight:1, int? padding_idx=None, float? max_norm=None,
    float norm_type=2.0, bool scale_grad_by_freq=False, bool sparse=False)
embedding_bag (Tensor input, Tensor weight, Tensor? offsets=None, float? max_norm=None, float norm_type=2,
    bool scale_grad_by_freq=False, str mode='mean', bool sparse=False, Tensor? per_sample_weights=None,
    bool include_last_offset=False, int? padding_idx=None)
multi_margin_loss (Tensor input, Tensor target, int p=1, float margin=1.0, Tensor? weight=None,
    bool? size_average=None, bool? reduce=None, str reduction='mean')
multilabel_margin_loss soft_margin_loss (Tensor input, Tensor target, bool? size_average=None, bool? reduce=None,
    str reduction='mean')
multilabel_soft_margin_loss (Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None,
    bool? reduce=None, str reduction='mean')
gaussian_nll_loss (Tensor input, Tensor target, any var, bool full=False, float eps=1e-06, str reduction='mean')
gelu (Tensor input, str approximate='none', *, out)
glu (Tensor input, int dim=-1)
gumbel_softmax (Tensor logits, float tau=1, bool hard=False, float eps=1e-10, int dim=-1, Generator? generator=None)
hardshrink softshrink (Tensor input, Number lambd=0.5, *, out)
hardsigmoid hardswish mish relu relu6 selu silu (Tensor input, any inplace=False)
hardtanh (Tensor input, float min_val=-1.0, float max_val=1.0, any inplace=False)
hinge_embedding_loss (Tensor input, Tensor target, float margin=1.0, bool? size_average=None, bool? reduce=None,
    str reduction='mean')
huber_loss (Tensor input, Tensor target, str reduction='mean', float delta=1.0, Tensor? weight=None)
kl_div (Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean',
    bool log_target=False)
l1_loss mse_loss (Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean',
    Tensor? weight=None)
layer_norm (Tensor input, ints normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05)
leaky_relu (Tensor input, float negative_slope=0.01, any inplace=False)
linear (Tensor input, Tensor weight, Tensor? bias=None, *, out)
log_softmax softmax softmin (Tensor input, int? dim=None, any _stacklevel=3, dtype? dtype=None)
logsigmoid (Tensor input, *, out)
max_pool1d max_pool1d_with_indices (Tensor input, int/ints kernel_size, int/ints? stride=None, int/ints padding=0,
    int/ints dilation=1, bool ceil_mode=False, bool return_indices=False)
multi_head_attention_forward (Tensor query, Tensor key, Tensor value, int embed_dim_to_check, int num_heads,
    Tensor? in_proj_weight, Tensor? in_proj_bias, Tensor? bias_k, Tensor? bias_v, bool add_zero_attn, float dropout_p,
    Tensor out_proj_weight, Tensor? out_proj_bias, bool training=True, Tensor? key_padding_mask=None,
    bool need_weights=True, Tensor? attn_mask=None, bool use_separate_proj_weight=False, Tensor? q_proj_weight=None,
    Tensor? k_proj_weight=None, Tensor? v_proj_weight=None, Tensor? static_k=None, Tensor? static_v=None,
    bool average_attn_weights=True, bool is_causal=False)
nll_loss (Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, int ignore_index=-100,
    bool? reduce=None, str reduction='mean')
normalize (Tensor input, float p=2.0, int/ints dim=1, float eps=1e-12, out)
one_hot (Tensor input, int num_classes=-1)
pad (Tensor input, ints pad, str mode='constant', float? value=None)
pairwise_distance (Tensor x1, Tensor x2, float p=2.0, float eps=1e-06, bool keepdim=False)
poisson_nll_loss (Tensor input, Tensor target, bool log_input=True, bool full=False, bool? size_average=None,
    float eps=1e-08, bool? reduce=None, str reduction='mean')
prelu (Tensor input, Tensor weight)
relu_ sigmoid softsign tanh tanhshrink (Tensor input)
rms_norm (Tensor input, ints normalized_shape, Tensor? weight=None, float? eps=None)
scaled_dot_product_attention (Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0,
    bool is_causal=False, *, float? scale=None, bool enable_gqa=False)
smooth_l1_loss (Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean',
    float beta=1.0)
softplus (Tensor input, Number beta=1, Number threshold=20, *, out)
triplet_margin_loss (Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, float p=2, float eps=1e-06,
    bool swap=False, bool? size_average=None, bool? reduce=None, str reduction='mean')
triplet_margin_with_distance_loss (Tensor anchor, Tensor positive, Tensor negative, *, any distance_function=None,
    float margin=1.0, bool swap=False, str reduction='mean')
threshold (Tensor input, float threshold, float value, any inplace=False)
"""

INIT = """
uniform_ (Tensor tensor, float a=0.0, float b=1.0, Generator? generator=None)
normal_ (Tensor tensor, float mean=0.0, float std=1.0, Generator? generator=None)
trunc_normal_ (Tensor tensor, float mean=0.0, float std=1.0, float a=-2.0, float b=2.0, Generator? generator=None)
constant_ (Tensor tensor, Number val)
eye_ ones_ zeros_ (Tensor tensor)
dirac_ (Tensor tensor, int groups=1)
xavier_normal_ xavier_uniform_ orthogonal_ (Tensor tensor, float gain=1.0, Generator? generator=None)
kaiming_normal_ kaiming_uniform_ (Tensor tensor, float a=0, str mode='fan_in', str nonlinearity='leaky_relu',
    Generator? generator=None)
sparse_ (Tensor tensor, float sparsity, float std=0.01, Generator? generator=None)
"""

SEQUENCES = """
invert_permutation (Tensor? permutation)
pack_padded_sequence (Tensor input, any lengths, bool batch_first=False, bool enforce_sorted=True, *,
    bool allow_empty=False)
pad_packed_sequence (PackedSequence sequence, bool batch_first=False, float padding_value=0.0, int? total_length=None)
pad_sequence (any sequences, bool batch_first=False, float padding_value=0.0, str padding_side='right')
unpad_sequence (Tensor padded_sequences, any lengths, bool batch_first=False)
pack_sequence (any sequences, bool enforce_sorted=True)
unpack_sequence (PackedSequence packed_sequences)
"""
