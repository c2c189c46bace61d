# Copyright (c) 2026 the onprem.autoscale authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the model that the real vLLM is tested with: a Llama of random weights, below 1 MB, nothing is downloaded.

usage: vllm_model.py FOLDER, in an environment with torch and transformers
"""

from __future__ import annotations

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

folder = sys.argv[1]
TEXT = ["The quick brown fox jumps over the lazy dog, and forty two hosts serve what they were asked for."]
CHAT = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
ENDS = ("<s>", "</s>")

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=512, special_tokens=list(ENDS), initial_alphabet=alphabet)
tokenizer.train_from_iterator(TEXT * 10, trainer)
names = dict(zip(("bos_token", "eos_token"), ENDS, strict=True))
PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=CHAT, **names).save_pretrained(folder)
torch.manual_seed(1)
config = LlamaConfig(
    vocab_size=512,
    hidden_size=128,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=2048,
    bos_token_id=0,
    eos_token_id=1,
)
LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
