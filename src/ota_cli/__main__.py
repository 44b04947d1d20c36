"""`python -m ota_cli`: the same as the console script `ota-service`."""

from ota_cli.main import main

if __name__ == "__main__":
    main()
