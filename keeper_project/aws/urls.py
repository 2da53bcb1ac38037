"""The addresses of the protocol. Some SDKs sign the path with a slash at its end, some without."""

from django.urls import path

from keeper_project.aws.credentials import ContainerCredentialsView
from keeper_project.aws.views import OperationsView
from keeper_project.aws.web_identity import WebIdentityView

urlpatterns = [
    path("aws", OperationsView.as_view(), name="aws"),
    path("aws/", OperationsView.as_view(), name="aws-root"),
    path("aws/credentials", ContainerCredentialsView.as_view(), name="aws-credentials"),
    path("aws/sts", WebIdentityView.as_view(), name="aws-sts"),
    path("aws/sts/", WebIdentityView.as_view(), name="aws-sts-root"),
]
