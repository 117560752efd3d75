"""Writes checkpoints with TensorFlow's own Saver: FOLDER/plain and FOLDER/partitioned, sharded, with
the values in expected.json.

Usage: peer_tensorflow.py FOLDER
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np  # noqa: E402
import tensorflow.compat.v1 as tf  # noqa: E402


def write(folder, name, partitioner):
    random = np.random.RandomState(7)
    values = {"bert/embeddings/word_embeddings": random.randn(300, 8).astype(np.float32),
              "bert/encoder/layer_0/intermediate/dense/kernel": random.randn(8, 70).astype(np.float32),
              "bert/embeddings/LayerNorm/gamma": random.randn(8).astype(np.float32),
              "counts": np.arange(-3, 4, dtype=np.int64),
              "wide": random.randn(5).astype(np.float64),
              "half": random.randn(5).astype(np.float16)}
    with tf.Graph().as_default(), tf.Session() as session:
        for key, value in values.items():
            def part(shape, dtype=None, partition_info=None, whole=value):
                begin = partition_info.var_offset if partition_info else [0] * whole.ndim
                return tf.constant(whole[tuple(slice(b, b + n) for b, n in zip(begin, shape))], dtype)

            parts = partitioner if value.ndim == 2 else None
            tf.get_variable(key, value.shape, value.dtype, part, partitioner=parts,
                            use_resource=False)
        tf.get_variable("bert/embeddings/LayerNorm/gamma/adam_m", [8], use_resource=False)
        tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        tf.train.Saver(sharded=True).save(session, f"{folder}/{name}")
    with open(f"{folder}/expected.json", "w", encoding="utf-8") as file:
        json.dump({key: value.astype(np.float64).flatten().tolist() for key, value in values.items()}, file)


if __name__ == "__main__":
    tf.disable_v2_behavior()
    write(sys.argv[1], "plain", None)
    write(sys.argv[1], "partitioned", tf.fixed_size_partitioner(3))
    print(tf.__version__)
