"""The addresses of the protocol. Some SDKs sign the path with a slash at its end, some without."""

from django.urls import path

from gateway_app.aws.signed_requests import ContainerCredentialsView
from gateway_app.aws.sts import StsView
from gateway_app.aws.views import OperationsView

urlpatterns = [
    path("aws", OperationsView.as_view(), name="aws"),
    path("aws/", OperationsView.as_view(), name="aws-root"),
    path("aws/credentials", ContainerCredentialsView.as_view(), name="aws-credentials"),
    path("aws/sts", StsView.as_view(), name="aws-sts"),
    path("aws/sts/", StsView.as_view(), name="aws-sts-root"),
]
