"""Fields that take what JSON says it is: DRF's own take "3", 3.7 and true for a number, and 5 for a text."""

from typing import Any

from rest_framework import serializers

from runs.limits import Limit


class Text(serializers.CharField):
    def __init__(self, **options: Any):
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Boolean(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class Number(serializers.Field):
    """A number within a Limit; a whole one unless the Limit says otherwise."""

    def __init__(self, limit: Limit, **options: Any):
        self.limit = limit
        options.setdefault("initial", limit.default)
        super().__init__(**options)

    def to_internal_value(self, data: Any) -> float | int:
        limit = self.limit
        if isinstance(data, bool) or not isinstance(data, (int, float)):
            raise serializers.ValidationError("must be a number")
        if limit.whole and data != data // 1:
            raise serializers.ValidationError("must be a whole number")
        if not limit.minimum <= data <= limit.maximum or (limit.above and data == limit.minimum):
            raise serializers.ValidationError(limit.sentence)
        return int(data) if limit.whole else float(data)

    def to_representation(self, value: Any) -> Any:
        return value
