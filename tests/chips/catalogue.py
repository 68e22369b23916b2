"""A catalog of operators small enough to reckon with, in the place of the real one."""

from datetime import date

from costlab.catalog import FusedOperator, OnnxOperator, OperatorCatalog, OperatorRoutes, ShapeRule

DAY = date(2026, 1, 1)
RULES = (
    ShapeRule("head_width", "a head of 64 or 128", "s", DAY, one_of=(64, 128)),
    ShapeRule("mask_dtype", "no mask, or a boolean one", "s", DAY, one_of=("none", "bool")),
    ShapeRule("query_heads", "heads that are a power of two, at most 2048", "s", DAY, most=2048, power_of_two=True),
)
SMALL = OperatorCatalog(
    aten={
        "mm.default": OperatorRoutes("aclnn", "converted", ("aclnnMm",), ("MatMulV2",)),
        "isin.Tensor_Tensor": OperatorRoutes("aclnn", "missing", since="2.4", launches=4),
        "histc.default": OperatorRoutes("cpu", "missing"),
        "sort.stable": OperatorRoutes("aclnn", "refused", ("aclnnSort",)),
        "view.default": OperatorRoutes("native", "converted"),
        "masked_fill.Scalar": OperatorRoutes("decomposed", "converted", launches=2),
        "_assert_tensor_metadata.default": OperatorRoutes("decomposed", "missing"),
        "_grouped_mm.default": OperatorRoutes("decomposed", "missing"),
    },
    onnx={
        "MatMul": OnnxOperator("BatchMatMulV2", 8, 18, True, True),
        "Softmax": OnnxOperator("SoftmaxV2", 8, 18, True, False),
        "LayerNormalization": OnnxOperator("PartitionedCall", 8, 18),
        "Old": OnnxOperator("Old", 8, 16),
        "AscendQuant": OnnxOperator("AscendQuant", 8, 22),
    },
    fused={
        "npu_fusion_attention": FusedOperator(
            "scaled_dot_product_attention", ("aclnnFlash",), pattern="attention", rules=RULES
        ),
        "npu_grouped_matmul": FusedOperator("_grouped_mm: one product for each expert", (), since="2.4"),
        "npu_rms_norm": FusedOperator(
            "the norm", ("aclnnRmsNorm",), pattern="rms_norm",
            rules=(ShapeRule("weight", "a weight", "s", DAY, one_of=("given",)),),
        ),
    },
    sources={},
    torch_versions=("2.1", "2.13"),
)  # fmt: skip
