# The sandbox of `minirag exercises grade --docker minirag-grader`, where bubblewrap is not to be had. Build it in the checkout:
#   docker build -f examples/grader.Dockerfile -t minirag-grader .
# It holds the package and its data, but no solutions, no tests, and no references of the checks.
FROM python:3.12-slim
WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY minirag minirag
COPY data data
RUN cd minirag/teaching/checks && find . -name "*.py" ! -name local.py ! -name compare.py -delete
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu . \
 && rm -r /build
WORKDIR /tmp
USER 65534
