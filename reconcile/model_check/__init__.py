"""Judge the models of a dbt project: is each table equal to its definition?"""
