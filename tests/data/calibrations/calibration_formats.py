# SPDX-License-Identifier: Apache-2.0
"""One camera in the files of many programs: 160x120, fx 82, fy 81.5, cx 80.2, cy 58.9."""

SIZE = (120, 160)
NUMBERS = (82.0, 81.5, 80.2, 58.9)
BROWN = (-0.28, 0.07, 0.0002, 1.8e-05)
FISHEYE = (-0.0012, 0.021, -0.018, 0.0061)

MATRIX = "82.0 0 80.2\n0 81.5 58.9\n0 0 1\n"
BY_COLUMNS = "82 0 0\n0 81.5 0\n80.2 58.9 1\n"

KALIBR = """\
cam0:
  cam_overlaps: [1]
  camera_model: pinhole
  distortion_coeffs: [-0.0012, 0.021, -0.018, 0.0061]
  distortion_model: equidistant
  intrinsics: [82.0, 81.5, 80.2, 58.9]
  resolution: [160, 120]
  rostopic: /cam0/image_raw
"""
EUROC = """\
sensor_type: camera
T_BS:
  cols: 4
  rows: 4
  data: [0.0, -1.0, 0.0, 0, 1.0, 0.0, 0.0, 0, 0.0, 0.0, 1.0, 0, 0.0, 0.0, 0.0, 1.0]
resolution: [160, 120]
camera_model: pinhole
intrinsics: [82.0, 81.5, 80.2, 58.9] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28, 0.07, 0.0002, 1.8e-05]
"""
ORBSLAM = """\
%YAML:1.0
---
Camera.type: "PinHole"
Camera1.fx: 82.0
Camera1.fy: 81.5
Camera1.cx: 80.2
Camera1.cy: 58.9
Camera1.k1: -0.28
Camera1.k2: 0.07
Camera1.p1: 0.0002
Camera1.p2: 1.8e-05
Camera.width: 160
Camera.height: 120
"""
ORBSLAM_FISHEYE = """\
%YAML:1.0
Camera.type: "KannalaBrandt8"
Camera.fx: 82.0
Camera.fy: 81.5
Camera.cx: 80.2
Camera.cy: 58.9
Camera.k1: -0.0012
Camera.k2: 0.021
Camera.k3: -0.018
Camera.k4: 0.0061
"""
CAMODOCAL = """\
%YAML:1.0
---
model_type: PINHOLE
image_width: 160
image_height: 120
distortion_parameters: {k1: -0.28, k2: 0.07, p1: 0.0002, p2: 1.8e-05}
projection_parameters: {fx: 82.0, fy: 81.5, cx: 80.2, cy: 58.9}
"""
CAMODOCAL_FISHEYE = """\
%YAML:1.0
---
model_type: KANNALA_BRANDT
image_width: 160
image_height: 120
projection_parameters:
   k2: -0.0012
   k3: 0.021
   k4: -0.018
   k5: 0.0061
   mu: 82.0
   mv: 81.5
   u0: 80.2
   v0: 58.9
"""
OPENCV_XML = """\
<?xml version="1.0"?>
<opencv_storage>
<image_width>160</image_width>
<image_height>120</image_height>
<camera_matrix type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt>
  <data>82. 0. 80.2 0. 81.5 58.9 0. 0. 1.</data></camera_matrix>
<distortion_coefficients type_id="opencv-matrix"><rows>4</rows><cols>1</cols><dt>d</dt>
  <data>-0.28 0.07 0.0002 1.8e-05</data></distortion_coefficients>
</opencv_storage>
"""
OPENCV_MTX = """\
%YAML:1.0
---
mtx: !!opencv-matrix
   rows: 3
   cols: 3
   dt: f
   data: [ 82., 0., 80.2, 0., 81.5, 58.9, 0., 0., 1. ]
dist: !!opencv-matrix
   rows: 1
   cols: 4
   dt: f
   data: [ -0.28, 0.07, 0.0002, 1.8e-05 ]
"""
ROS_INI = """\
# oST version 5.0 parameters

[image]

width
160

height
120

[narrow_stereo]

camera matrix
82.000000 0.000000 80.200000
0.000000 81.500000 58.900000
0.000000 0.000000 1.000000

distortion
-0.280000 0.070000 0.000200 0.000018 0.000000

projection
70.000000 0.000000 80.000000 0.000000
0.000000 76.000000 59.000000 0.000000
0.000000 0.000000 1.000000 0.000000
"""
ROS_YAML = """\
image_width: 160
image_height: 120
camera_name: cam
camera_matrix: {rows: 3, cols: 3, data: [82.0, 0, 80.2, 0, 81.5, 58.9, 0, 0, 1]}
WORD
distortion_coefficients: {data: COEFFICIENTS}
"""
ROS_ECHO = """\
header: {stamp: {sec: 1, nanosec: 2}, frame_id: cam}
height: 120
width: 160
distortion_model: plumb_bob
d: [-0.28, 0.07, 0.0002, 1.8e-05, 0.0]
k: [82.0, 0.0, 80.2, 0.0, 81.5, 58.9, 0.0, 0.0, 1.0]
binning_x: 0
binning_y: 0
roi: {x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: false}
---
"""
COLMAP = """\
# Camera list with one line of data per camera:
#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]
1 OPENCV 160 120 82.0 81.5 80.7 59.4 -0.28 0.07 0.0002 0.000018
"""
TRANSFORMS = """{"camera_model": "OPENCV", "fl_x": 82.0, "fl_y": 81.5, "cx": 80.7, "cy": 59.4,
"w": 160, "h": 120, "k1": -0.28, "k2": 0.07, "p1": 0.0002, "p2": 1.8e-05, "frames": []}"""
TRANSFORMS_FISHEYE = """{"is_fisheye": true, "fl_x": 82.0, "fl_y": 81.5, "cx": 80.7, "cy": 59.4,
"w": 160, "h": 120, "k1": -0.0012, "k2": 0.021, "k3": -0.018, "k4": 0.0061, "frames": []}"""
TRANSFORMS_PER_FRAME = """{"w": 160, "h": 120, "frames": [
{"fl_x": 82.0, "fl_y": 81.5, "cx": 80.7, "cy": 59.4, "transform_matrix": [[1, 0], [0, 1]]},
{"fl_x": 82.0, "fl_y": 81.5, "cx": 80.7, "cy": 59.4, "transform_matrix": [[1, 0], [0, 1]]}]}"""
OPEN3D = (
    '{"width": 160, "height": 120, "intrinsic_matrix": [82.0, 0, 0, 0, 81.5, 0, 80.2, 58.9, 1]}'
)
OPEN3D_TRAJECTORY = f'{{"parameters": [{{"extrinsic": [1, 0, 0, 0], "intrinsic": {OPEN3D}}}]}}'
REALSENSE = """{"color": {"width": 160, "height": 120, "fx": 82.0, "fy": 81.5, "ppx": 80.2,
"ppy": 58.9, "model": "distortion.inverse_brown_conrady", "coeffs": [0, 0, 0, 0, 0]}}"""
BASALT = """{"value0": {"resolution": [[160, 120]], "intrinsics": [{"camera_type": "kb4",
"intrinsics": {"fx": 82.0, "fy": 81.5, "cx": 80.2, "cy": 58.9, "k1": -0.0012, "k2": 0.021,
"k3": -0.018, "k4": 0.0061}}]}}"""
# (80.2 - 79.5) / 160 and (58.9 - 59.5) / 160 off the middle, 82 / 160 and 81.5 / 160.
OPENSFM = """{"v2 phone": {"projection_type": "brown", "width": 160, "height": 120,
"focal_x": 0.5125, "focal_y": 0.509375, "c_x": 0.004375, "c_y": -0.00375,
"k1": -0.28, "k2": 0.07, "p1": 0.0002, "p2": 1.8e-05, "k3": 0.0}}"""
# 82 / 160, 81.5 / 120, (80.2 + 0.5) / 160, (58.9 + 0.5) / 120.
DSO = "0.5125 0.67916667 0.504375 0.495 0\n160 120\ncrop\n640 480\n"
DSO_RADTAN = "RadTan 82.0 81.5 80.2 58.9 -0.28 0.07 0.0002 1.8e-05\n160 120\nfull\n640 480\n"
KITTI = """\
P0: 90 0 80 0 0 90 60 0 0 0 1 0
P2: 82.0 0 80.2 45.3 0 81.5 58.9 -0.1 0 0 1 0.002
Tr: 1 0 0 0 0 1 0 0 0 0 1 0
"""
KITTI_RAW = """\
calib_time: 09-Jan-2012 13:57:47
S_02: 1.6e+02 1.2e+02
K_02: 82.0 0 80.2 0 81.5 58.9 0 0 1
D_02: -0.28 0.07 0.0002 1.8e-05 0
S_rect_02: 1.5e+02 1.1e+02
P_rect_02: 70 0 75 0 0 70 55 0 0 0 1 0
"""
MIDDLEBURY = """\
cam0=[82.0 0 80.2; 0 81.5 58.9; 0 0 1]
cam1=[82.0 0 84.2; 0 81.5 58.9; 0 0 1]
doffs=4
width=160
height=120
"""
SCANNET = """\
colorHeight = 120
colorWidth = 160
fx_color = 82.0
fx_depth = 577.8
fy_color = 81.5
mx_color = 80.2
my_color = 58.9
sceneType = Apartment
"""

NONE = ("none", ())
BENT = ("brown_conrady", BROWN)
BENT_5 = ("brown_conrady", (*BROWN, 0.0))
ROUND = ("kannala_brandt", FISHEYE)

FORMATS = {
    "kalibr": (KALIBR, ROUND),
    "euroc": (EUROC, BENT),
    "orbslam": (ORBSLAM, BENT_5),
    "orbslam-fisheye": (ORBSLAM_FISHEYE, ROUND),
    "camodocal": (CAMODOCAL, BENT_5),
    "camodocal-fisheye": (CAMODOCAL_FISHEYE, ROUND),
    "opencv-xml": (OPENCV_XML, BENT),
    "opencv-mtx": (OPENCV_MTX, BENT),
    "ros-ini": (ROS_INI, BENT_5),
    "ros-echo": (ROS_ECHO, BENT_5),
    "colmap": (COLMAP, BENT),
    "transforms": (TRANSFORMS, BENT_5),
    "transforms-fisheye": (TRANSFORMS_FISHEYE, ROUND),
    "transforms-per-frame": (TRANSFORMS_PER_FRAME, NONE),
    "open3d": (OPEN3D, NONE),
    "open3d-trajectory": (OPEN3D_TRAJECTORY, NONE),
    "realsense": (REALSENSE, NONE),
    "basalt": (BASALT, ROUND),
    "opensfm": (OPENSFM, BENT_5),
    "dso": (DSO, NONE),
    "dso-radtan": (DSO_RADTAN, BENT),
    "kitti": (KITTI, NONE),
    "kitti-nine": ("P2: 82.0 0 80.2 0 81.5 58.9 0 0 1\n", NONE),
    "kitti-raw": (KITTI_RAW, BENT_5),
    "middlebury": (MIDDLEBURY, NONE),
    "scannet": (SCANNET, NONE),
    "3x3": (MATRIX, NONE),
    "3x3-in-a-line": (MATRIX.replace("\n", " "), NONE),
    "3x3-by-columns": (BY_COLUMNS, NONE),
    "3x3-csv": ("82.0,0,80.2\n0,81.5,58.9\n0,0,1\n", NONE),
    "3x3-numpy": ("[[82.   0.  80.2]\n [ 0.  81.5 58.9]\n [ 0.   0.   1. ]]\n", NONE),
    "3x3-python": ("K = np.array([[82., 0, 80.2],\n [0, 81.5, 58.9],\n [0, 0, 1]])\n", NONE),
    "3x3-json": ("[[82.0, 0, 80.2], [0, 81.5, 58.9], [0, 0, 1]]", NONE),
    "3x3-yaml": ("- [82.0, 0, 80.2]\n- [0, 81.5, 58.9]\n- [0, 0, 1]\n", NONE),
    "3x4": ("82.0 0 80.2 0\n0 81.5 58.9 0\n0 0 1 0\n", NONE),
    "4x4": ("82.0 0 80.2 0\n0 81.5 58.9 0\n0 0 1 0\n0 0 0 1\n", NONE),
    "4x4-yaml": ("K: [[82.0,0,80.2,0],[0,81.5,58.9,0],[0,0,1,0],[0,0,0,1]]\n", NONE),
    "line-of-4": ("82.0 81.5 80.2 58.9\n", NONE),
    "line-of-8": ("82.0 81.5 80.2 58.9 -0.28 0.07 0.0002 1.8e-05\n", BENT),
    "line-of-9": ("82.0 81.5 80.2 58.9 -0.28 0.07 0.0002 1.8e-05 0\n", BENT_5),
    "line-size-first": ("160 120 82.0 81.5 80.2 58.9\n", NONE),
    "line-size-last": ("82.0 81.5 80.2 58.9 160 120\n", NONE),
    "line-with-head": ("width,height,fx,fy,cx,cy\n160,120,82.0,81.5,80.2,58.9\n", NONE),
    "keys-without-size": ("fx: 82.0\nfy: 81.5\ncx: 80.2\ncy: 58.9\n", NONE),
}
"""Text, and the lens it must give."""
