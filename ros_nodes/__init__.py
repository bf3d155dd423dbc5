# SPDX-License-Identifier: Apache-2.0
"""ROS 2 nodes around `depthkit.runtime`: they carry messages, the engines do the work.

python -m ros_nodes.depth_node --ros-args -p model:=model.onnx -r image:=/camera/image_raw
"""
